"""One limit on money for models of different prices.

A `Spending` knows one price of input and one of output. Models that share one, each at prices of
its own, get a `Share` of an account whose prices are 1, and count tokens times price there. Calls
and money of the account are then those of all models; its tokens mean nothing.
"""

from types import TracebackType
from typing import Self

from adapters.spending import Estimate, Prices, Reservation, Spending, Spent


def account(max_calls: int | None = None, max_money: float | None = None) -> Spending:
    """An account to be shared.

    Raises:
      ValueError: a limit is negative.
    """
    return Spending(max_calls=max_calls, max_money=max_money, prices=Prices(1.0, 1.0))


class Share:
    """What one model spends of a common account; in place of an `adapters.spending.Spending`."""

    def __init__(self, common: Spending, prices: Prices):
        """Makes a share.

        Args:
          common: from `account`.
          prices: of the model.
        """
        self._common, self._prices = common, prices

    @property
    def spent(self) -> Spent:
        """Of the common account."""
        return self._common.spent

    def limits(self) -> str:
        """Of the common account."""
        return self._common.limits()

    def estimate(self, num_calls: int, mean_input_tokens: float, max_tokens: int) -> Estimate:
        """What calls of this model will cost if every reply takes all of its tokens."""
        return Spending(prices=self._prices).estimate(num_calls, mean_input_tokens, max_tokens)

    def reserve(self, input_tokens: int, output_tokens: int) -> "SharedReservation | None":
        """As `Spending.reserve`."""
        found = self._common.reserve(
            input_tokens * self._prices.input, output_tokens * self._prices.output
        )
        return None if found is None else SharedReservation(found, self._prices)


class SharedReservation:
    """As `adapters.spending.Reservation`."""

    def __init__(self, common: Reservation, prices: Prices):
        self._common, self._prices = common, prices

    @property
    def money(self) -> float:
        """Set aside."""
        return self._common.money

    def settle(self, input_tokens: int, output_tokens: int) -> float:
        """The call was billed for these tokens. Returns the money."""
        return self._common.settle(
            input_tokens * self._prices.input, output_tokens * self._prices.output
        )

    def refund(self) -> None:
        """The call was not billed."""
        self._common.refund()

    def __enter__(self) -> Self:
        self._common.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._common.__exit__(kind, error, traceback)
