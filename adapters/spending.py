"""A limit on calls and on money that holds while many calls are under way.

Before a call is made the most that it can cost is reserved; when it has ended, what it did cost
takes the reservation's place, and nothing does if the server refused it. What is spent and what is
reserved are never above the limit together. A call whose answer was lost (no answer in time, a
connection that dropped, a broken body) may have been billed all the same; the server did not say,
so the whole reservation is kept, and shown apart.

The limit can be passed in one way only: a server that counts more tokens than the bounds given to
`reserve`. What was really spent is then shown as it is.
"""

import dataclasses
import math
import threading
from collections.abc import Sequence
from typing import Any, Self

_EXACT = 1 + 1e-9  # sums of money are floating-point numbers


@dataclasses.dataclass(frozen=True, slots=True)
class Prices:
    """Money per million tokens, in any one currency. Input that a server reads from a cache of its
    own, and bills less for, is counted at the full price.

    Attributes:
      input: of the prompt.
      output: of the reply.
    """

    input: float
    output: float

    def __post_init__(self):
        for name in ("input", "output"):
            _check_amount(name, getattr(self, name))

    def cost(self, input_tokens: float, output_tokens: float) -> float:
        """Money for these tokens."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


@dataclasses.dataclass(frozen=True, slots=True)
class Spent:
    """What has been spent.

    Attributes:
      calls: that were billed, or may have been.
      input_tokens, output_tokens: as the server counted them.
      money: for all of them.
      lost_calls: those of `calls` whose answer was lost, or came without its tokens.
      lost_money: the part of `money` for them, the most they can have cost.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: float = 0.0
    lost_calls: int = 0
    lost_money: float = 0.0


class SpendingLimit(Exception):
    """The next call might pass the limit, so it was not made.

    Attributes:
      spent: so far.
      replies: what there is of the batch that was stopped, in the order of its states; None for
        each state without a reply. The whole is None if there was no batch.
    """

    def __init__(self, message: str, spent: Spent, replies: Sequence[Any] | None = None):
        super().__init__(message)
        self.spent = spent
        self.replies = None if replies is None else list(replies)


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """What calls will cost; `str` is a line for people.

    Attributes:
      calls: how many.
      input_tokens: expected, of all.
      output_tokens: at most, of all.
      money: for both; None where no prices are known.
    """

    calls: int
    input_tokens: float
    output_tokens: float
    money: float | None

    def __str__(self) -> str:
        line = (
            f"{self.calls:,} calls: about {self.input_tokens:,.0f} input tokens, "
            f"at most {self.output_tokens:,.0f} output tokens"
        )
        return line if self.money is None else f"{line}, about {self.money:,.4f} at most"


class Spending:
    """Adds up calls and money, and refuses what might pass a limit. Several actors and threads may
    share one; processes may not.

    Example:
      >>> spending = Spending(max_money=1.0, prices=Prices(input=2.0, output=10.0))
      >>> with spending.reserve(input_tokens=1_000, output_tokens=300) as call:
      ...     call.settle(input_tokens=900, output_tokens=120)
      0.003
      >>> spending.spent.money
      0.003
    """

    def __init__(
        self,
        *,
        max_calls: int | None = None,
        max_money: float | None = None,
        prices: Prices | None = None,
        spent: Spent | None = None,
    ):
        """Makes an account.

        Args:
          max_calls: of all calls that are billed; None for no limit.
          max_money: in the currency of the prices; None for no limit.
          prices: None where nothing is billed; every call then costs 0.
          spent: before this run, and counted towards the limits; nothing if None.

        Raises:
          ValueError: a limit is negative, or money is limited and there are no prices.
        """
        if max_calls is not None and (type(max_calls) is not int or max_calls < 0):
            raise ValueError(f"max_calls is {max_calls!r}, expected an integer from 0, or None")
        if max_money is not None:
            _check_amount("max_money", max_money)
            if prices is None:
                raise ValueError(f"max_money is {max_money} but prices is None, expected prices")
        self._max_calls = max_calls
        self._max_money = max_money
        self._prices = prices or Prices(0.0, 0.0)
        self._priced = prices is not None
        self._spent = spent or Spent()
        self._reserved: set[Reservation] = set()
        self._lock = threading.Lock()

    @property
    def spent(self) -> Spent:
        """So far, without what is only reserved."""
        with self._lock:
            return self._spent

    def estimate(self, num_calls: int, mean_input_tokens: float, max_tokens: int) -> Estimate:
        """What calls will cost if every reply takes all of its tokens."""
        input_tokens, output_tokens = num_calls * mean_input_tokens, num_calls * max_tokens
        money = self._prices.cost(input_tokens, output_tokens) if self._priced else None
        return Estimate(num_calls, input_tokens, output_tokens, money)

    def limits(self) -> str:
        """The limits and what is spent of them, for people."""
        with self._lock:
            spent = self._spent
        calls = "" if self._max_calls is None else f" of at most {self._max_calls:,}"
        money = "" if self._max_money is None else f" of at most {self._max_money:,.4f}"
        line = f"spent {spent.calls:,}{calls} calls"
        if self._priced:
            line += f" and {spent.money:,.4f}{money}"
        if spent.lost_calls:
            line += (
                f", {spent.lost_calls:,} calls and {spent.lost_money:,.4f} of it for lost answers"
            )
        return line

    def reserve(self, input_tokens: int, output_tokens: int) -> "Reservation | None":
        """Sets aside what one call may cost.

        Args:
          input_tokens, output_tokens: no call of this kind can take more.

        Returns:
          To be used in a `with` statement around the call. None if calls under way have reserved
          what this one needs, and may not spend all of it: ask again when one has ended.

        Raises:
          SpendingLimit: the limit would not allow the call even if nothing else were under way.
        """
        reservation = Reservation(self, self._prices.cost(input_tokens, output_tokens))
        with self._lock:
            if self._fits([reservation, *self._reserved]):
                self._reserved.add(reservation)
                return reservation
            if self._fits([reservation]):
                return None
        raise SpendingLimit(
            f"spending limit: {self.limits()}; the next call may cost {reservation.money:,.4f}",
            self.spent,
        )

    def _fits(self, reservations: Sequence["Reservation"]) -> bool:
        calls = self._spent.calls + len(reservations)
        money = math.fsum([self._spent.money, *(other.money for other in reservations)])
        return (self._max_calls is None or calls <= self._max_calls) and (
            self._max_money is None or money <= self._max_money * _EXACT
        )

    def _end(self, reservation: "Reservation", spent: Spent) -> None:
        with self._lock:
            if reservation not in self._reserved:
                raise RuntimeError("a reservation was ended twice")
            self._reserved.remove(reservation)
            sums = (
                getattr(self._spent, field.name) + getattr(spent, field.name)
                for field in dataclasses.fields(Spent)
            )
            self._spent = Spent(*sums)


class Reservation:
    """What one call may cost, set aside. Ends as one of three: `settle`, `refund`, or, at the end
    of the `with` statement, as lost.

    Attributes:
      money: set aside.
    """

    def __init__(self, spending: Spending, money: float):
        self.money = money
        self._spending = spending
        self._open = True

    def settle(self, input_tokens: int, output_tokens: int) -> float:
        """The call was billed for these tokens. Returns the money."""
        money = self._spending._prices.cost(input_tokens, output_tokens)
        self._end(Spent(1, input_tokens, output_tokens, money))
        return money

    def refund(self) -> None:
        """The call was not billed."""
        self._end(Spent())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        if self._open:
            self._end(Spent(1, money=self.money, lost_calls=1, lost_money=self.money))

    def _end(self, spent: Spent) -> None:
        self._spending._end(self, spent)
        self._open = False


def _check_amount(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} is {value!r}, expected a number from 0")
