"""Investment arithmetic against published and hand-worked figures."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.statistics.finance import (
    compounded_factor,
    irr,
    monthly_rate_share,
    npv_usd,
    payback_periods,
    roi_share,
    triangular_mean,
)

GOLDEN_FLOWS = [Decimal(-100_000), Decimal(30_000), Decimal(45_000), Decimal(60_000)]


def decimals(*amounts: float) -> list[Decimal]:
    return [Decimal(str(amount)) for amount in amounts]


def test_npv_of_the_golden_flows():
    # 30000/1.1 + 45000/1.21 + 60000/1.331 - 100000
    assert round(npv_usd(GOLDEN_FLOWS, Decimal("0.10")), 2) == Decimal("9541.70")


def test_npv_at_rate_zero_is_the_plain_sum():
    assert npv_usd(GOLDEN_FLOWS, Decimal(0)) == 35_000


def test_npv_of_nothing_is_zero():
    assert npv_usd([], Decimal("0.1")) == 0


def test_npv_refuses_a_loss_of_everything():
    with pytest.raises(ValueError, match="above -1"):
        npv_usd(GOLDEN_FLOWS, Decimal(-1))


def test_irr_of_the_golden_flows():
    assert irr(GOLDEN_FLOWS).rate_share == pytest.approx(0.14765, abs=5e-6)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=60).filter(any), st.integers(1, 50_000))
def test_irr_makes_the_present_value_zero(returns: list[int], invested: int):
    flows = [Decimal(-invested), *map(Decimal, returns)]
    rate = irr(flows).rate_share
    assert rate is not None
    discounted = [float(flow) * (1 + rate) ** -period for period, flow in enumerate(flows)]
    assert sum(discounted) == pytest.approx(0, abs=1e-7 * sum(abs(flow) for flow in discounted))


def test_irr_of_flows_of_one_sign_is_none():
    result = irr(decimals(100, 200))
    assert result.rate_share is None
    assert result.reason == "all cash flows have one sign, so no rate makes their present value zero"


def test_irr_with_several_rates_is_none_and_names_them():
    # -100 + 230/(1+r) - 132/(1+r)^2 is zero at 10 % and at 20 %.
    result = irr(decimals(-100, 230, -132))
    assert result.rate_share is None
    assert result.reason == "2 rates make the present value zero (10 %, 20 %); use net present value"


def test_irr_with_sign_changes_and_one_rate_is_found():
    # 1/(1+r) = v: -100 + 50v - 20v^2 + 150v^3 has the one real root v = 0.7892...
    rate = irr(decimals(-100, 50, -20, 150)).rate_share
    assert rate is not None
    assert float(npv_usd(decimals(-100, 50, -20, 150), Decimal(repr(rate)))) == pytest.approx(0, abs=1e-5)


def test_irr_without_a_real_rate_is_none():
    # -100 + 100v - 100v^2 has no real root.
    assert irr(decimals(-100, 100, -100)).reason == "no rate above -100 % makes the present value zero"


def test_payback_of_the_golden_flows_is_interpolated():
    # 75,000 are back after two years, 25,000 of the third year's 60,000 are still needed.
    assert float(payback_periods(GOLDEN_FLOWS)) == pytest.approx(2 + 25 / 60)


def test_payback_of_what_never_pays_back_is_none():
    assert payback_periods(decimals(-100, 30, 30)) is None


def test_payback_without_an_investment_is_immediate():
    assert payback_periods(decimals(0, 30)) == 0


def test_roi_of_the_golden_flows():
    assert roi_share(Decimal(135_000), Decimal(100_000)) == Decimal("0.35")


def test_roi_without_a_cost_is_none():
    assert roi_share(Decimal(1), Decimal(0)) is None


def test_roi_refuses_a_negative_cost():
    with pytest.raises(ValueError, match="zero or more"):
        roi_share(Decimal(1), Decimal(-1))


def test_monthly_rate_compounds_to_the_annual_one():
    monthly = monthly_rate_share(Decimal("0.10"))
    assert float(monthly) == pytest.approx(0.00797414, abs=1e-8)
    assert float((1 + monthly) ** 12) == pytest.approx(1.10)


def test_monthly_rate_refuses_a_loss_of_everything():
    with pytest.raises(ValueError, match="above -1"):
        monthly_rate_share(Decimal(-1))


def test_price_that_falls_6_67_percent_a_month_keeps_44_percent_after_a_year():
    assert float(compounded_factor(Decimal("-0.0667"), 12)) == pytest.approx(0.43677, abs=5e-6)
    average = sum(compounded_factor(Decimal("-0.0667"), month) for month in range(12)) / 12
    assert float(average) == pytest.approx(0.7037, abs=5e-5)


@pytest.mark.parametrize(("low", "likely", "high", "mean"), [(70, 100, 110, "93.3333"), (95, 100, 130, "108.3333")])
def test_triangular_mean_of_the_golden_ranges(low: int, likely: int, high: int, mean: str):
    assert round(triangular_mean(Decimal(low), Decimal(likely), Decimal(high)), 4) == Decimal(mean)


def test_triangular_mean_refuses_disorder():
    with pytest.raises(ValueError, match="in order"):
        triangular_mean(Decimal(2), Decimal(1), Decimal(3))
