"""One limit for models of different prices."""

import pytest

from adapters.shared_spending import Share, account
from adapters.spending import Prices, SpendingLimit

CHEAP, DEAR = Prices(1.0, 2.0), Prices(10.0, 20.0)
MILLION = 1_000_000


def test_money_adds_up_at_the_prices_of_each():
    common = account()
    with Share(common, CHEAP).reserve(MILLION, MILLION) as call:
        assert call.money == pytest.approx(3.0)
        assert call.settle(MILLION, MILLION // 2) == pytest.approx(2.0)
    with Share(common, DEAR).reserve(MILLION, MILLION) as call:
        assert call.settle(MILLION, 0) == pytest.approx(10.0)
    assert common.spent.calls == 2
    assert common.spent.money == pytest.approx(12.0)
    assert Share(common, DEAR).spent == common.spent


def test_what_one_reserves_the_other_cannot():
    common = account(max_money=12.0)
    with Share(common, DEAR).reserve(MILLION, 0):
        assert Share(common, CHEAP).reserve(MILLION, MILLION) is None  # 10 + 3
        with Share(common, CHEAP).reserve(MILLION, 0) as call:
            call.refund()
    # Lost calls cost what was reserved.
    assert common.spent.money == pytest.approx(10.0)
    with pytest.raises(SpendingLimit, match=r"spent 1 calls and 10.0000 of at most 12.0000"):
        Share(common, CHEAP).reserve(MILLION, MILLION)


def test_calls_are_limited_together():
    common = account(max_calls=1)
    with Share(common, CHEAP).reserve(1, 1) as call:
        call.settle(1, 1)
    with pytest.raises(SpendingLimit):
        Share(common, DEAR).reserve(1, 1)
    assert "1 of at most 1 calls" in Share(common, DEAR).limits()


def test_estimates_are_at_the_prices_of_each():
    common = account()
    assert Share(common, CHEAP).estimate(1000, 1000.0, 500).money == pytest.approx(2.0)
    assert Share(common, DEAR).estimate(1000, 1000.0, 500).money == pytest.approx(20.0)
