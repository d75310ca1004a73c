"""Spending limits: what is reserved, settled and refunded, and that a limit is never passed."""

import random
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.spending import Prices, Spending, SpendingLimit, Spent

PRICES = Prices(input=1_000_000.0, output=2_000_000.0)  # 1 and 2 a token


def test_prices_are_per_million_tokens():
    assert Prices(input=2.5, output=10.0).cost(1_000_000, 100_000) == 3.5


def test_a_settled_call_costs_what_it_took():
    spending = Spending(prices=PRICES)
    with spending.reserve(100, 10) as call:
        assert call.money == 120.0
        assert spending.spent == Spent()  # nothing yet
        assert call.settle(50, 4) == 58.0
    assert spending.spent == Spent(1, 50, 4, 58.0)


def test_a_refunded_call_costs_nothing_and_is_none():
    spending = Spending(max_calls=1, prices=PRICES)
    for _ in range(3):
        with spending.reserve(100, 10) as call:
            call.refund()
    assert spending.spent == Spent()


def test_a_lost_call_costs_the_most_it_can_have():
    spending = Spending(prices=PRICES)
    with pytest.raises(OSError, match="gone"), spending.reserve(100, 10):
        raise OSError("gone")
    assert spending.spent == Spent(1, 0, 0, 120.0, 1, 120.0)


def test_without_prices_calls_are_counted_and_cost_nothing():
    spending = Spending(max_calls=2)
    for _ in range(2):
        with spending.reserve(100, 10) as call:
            assert call.settle(100, 10) == 0.0
    with pytest.raises(SpendingLimit, match="spending limit: spent 2 of at most 2 calls;"):
        spending.reserve(1, 1)


def test_the_limit_says_what_was_spent():
    spending = Spending(max_calls=5, max_money=100.0, prices=PRICES)
    with spending.reserve(50, 10) as call:
        call.settle(50, 4)
    with spending.reserve(1, 1):
        pass
    with pytest.raises(SpendingLimit) as limit:
        spending.reserve(40, 0)
    assert str(limit.value) == (
        "spending limit: spent 2 of at most 5 calls and 61.0000 of at most 100.0000, 1 calls and "
        "3.0000 of it for lost answers; the next call may cost 40.0000"
    )
    assert limit.value.spent == Spent(2, 50, 4, 61.0, 1, 3.0)
    assert limit.value.replies is None


def test_a_limit_may_be_met_exactly():
    # 0.1 + 0.1 + 0.1 is 0.30000000000000004 in floating point.
    spending = Spending(max_money=0.3, prices=Prices(input=1e5, output=0.0))
    for _ in range(3):
        with spending.reserve(1, 0) as call:
            call.settle(1, 0)
    with pytest.raises(SpendingLimit):
        spending.reserve(1, 0)


def test_a_call_that_must_wait_for_others_is_told_so():
    spending = Spending(max_calls=2)
    first, second = spending.reserve(1, 1), spending.reserve(1, 1)
    assert spending.reserve(1, 1) is None
    first.refund()
    third = spending.reserve(1, 1)
    assert third is not None and spending.reserve(1, 1) is None
    second.settle(1, 1)
    third.settle(1, 1)
    with pytest.raises(SpendingLimit):
        spending.reserve(1, 1)


def test_what_was_spent_before_counts():
    spending = Spending(max_calls=10, max_money=50.0, prices=PRICES, spent=Spent(9, 5, 5, 30.0))
    with pytest.raises(SpendingLimit):
        spending.reserve(21, 0)
    with spending.reserve(20, 0) as call:
        call.settle(20, 0)
    with pytest.raises(SpendingLimit):
        spending.reserve(0, 0)
    assert spending.spent == Spent(10, 25, 5, 50.0)


def test_a_server_that_counts_more_than_its_bound_is_shown_as_it_is():
    spending = Spending(max_money=10.0, prices=PRICES)
    with spending.reserve(10, 0) as call:
        call.settle(15, 0)
    assert spending.spent.money == 15.0
    with pytest.raises(SpendingLimit):
        spending.reserve(0, 0)


def test_a_reservation_ends_once():
    call = Spending().reserve(1, 1)
    call.settle(1, 1)
    with pytest.raises(RuntimeError, match="twice"):
        call.refund()


def test_estimates():
    spending = Spending(max_money=9.0, prices=Prices(input=2.0, output=10.0))
    estimate = spending.estimate(4_000, 350.5, 300)
    assert (estimate.calls, estimate.input_tokens, estimate.output_tokens) == (
        4000,
        1402000,
        1200000,
    )
    assert estimate.money == pytest.approx(2.804 + 12.0)
    assert str(estimate) == (
        "4,000 calls: about 1,402,000 input tokens, at most 1,200,000 output tokens, "
        "about 14.8040 at most"
    )
    assert str(Spending().estimate(2, 10, 5)) == (
        "2 calls: about 20 input tokens, at most 10 output tokens"
    )
    assert spending.limits() == "spent 0 calls and 0.0000 of at most 9.0000"
    assert Spending(max_calls=3).limits() == "spent 0 of at most 3 calls"


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Prices(-1.0, 1.0), "input is -1.0"),
        (lambda: Prices(1.0, float("nan")), "output is nan"),
        (lambda: Spending(max_calls=-1), "max_calls is -1"),
        (lambda: Spending(max_calls=1.5), "max_calls is 1.5"),
        (lambda: Spending(max_money=float("inf"), prices=PRICES), "max_money is inf"),
        (lambda: Spending(max_money=1.0), "max_money is 1.0 but prices is None"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


class OneCall:
    """A call under way in the property below."""

    def __init__(self, reservation, most):
        self.reservation, self.most = reservation, most


moves = st.tuples(
    st.sampled_from(["begin", "settle", "refund", "lose"]),
    st.integers(0, 40), st.integers(0, 40), st.floats(0, 1),
)  # fmt: skip


@given(st.lists(moves, max_size=60), st.integers(0, 6), st.integers(0, 300))
def test_in_any_order_of_events_the_limits_hold(steps, max_calls, max_money):
    spending = Spending(max_calls=max_calls, max_money=float(max_money), prices=PRICES)
    under_way, money, calls = [], 0.0, 0
    for move, input_tokens, output_tokens, share in steps:
        if move == "begin":
            most = input_tokens + 2.0 * output_tokens
            reserved = sum(call.most for call in under_way)
            try:
                reservation = spending.reserve(input_tokens, output_tokens)
            except SpendingLimit:
                assert calls + 1 > max_calls or money + most > max_money
                continue
            if reservation is None:
                assert calls + len(under_way) + 1 > max_calls or money + reserved + most > max_money
                continue
            under_way.append(OneCall(reservation, most))
            assert calls + len(under_way) <= max_calls and money + reserved + most <= max_money
        elif under_way:
            call = under_way.pop(input_tokens % len(under_way))
            with call.reservation as reservation:
                if move == "settle":
                    took = int(share * call.most)
                    money += reservation.settle(took, 0)
                elif move == "refund":
                    reservation.refund()
                else:
                    money += call.most
            calls += move != "refund"
        assert spending.spent.calls == calls <= max_calls
        assert spending.spent.money == pytest.approx(money) and money <= max_money


def test_many_threads_never_pass_a_limit():
    spending = Spending(max_calls=150, max_money=1000.0, prices=PRICES)
    most, lock, at_once = [0.0], threading.Lock(), []

    def work(seed):
        rng = random.Random(seed)
        while True:
            try:
                reservation = spending.reserve(10, 5)
            except SpendingLimit:
                return
            if reservation is None:
                time.sleep(0.0005)
                continue
            with lock:
                at_once.append(reservation.money)
                most[0] = max(most[0], spending.spent.money + sum(at_once))
            with reservation:
                time.sleep(0.0005)
                with lock:
                    at_once.remove(reservation.money)
                if rng.random() < 0.2:
                    reservation.refund()
                else:
                    reservation.settle(rng.randint(0, 10), rng.randint(0, 5))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 500 < most[0] <= 1000.0
    assert spending.spent.calls <= 150 and 900 < spending.spent.money <= 1000.0
