"""Comparisons of arms against published figures and hand-worked ones."""

import math

import numpy as np
import pytest

from dagster_project.statistics.experiments import (
    ArmSummary,
    always_valid_half_width,
    cost_per_success_difference,
    cost_per_success_interval,
    success_share_difference,
)


def sonnet_arm(cost_usd_per_run: float, cost_usd_per_success: float, ratio_variance: float) -> ArmSummary:
    """Return an arm of 500 runs whose cost per success has the given delta-method variance."""
    success_share = cost_usd_per_run / cost_usd_per_success
    success_variance = success_share * (1 - success_share) * 500 / 499
    residual_variance = ratio_variance * 500 * success_share**2
    return ArmSummary(
        instance_count=500,
        mean_cost_usd=cost_usd_per_run,
        success_share=success_share,
        cost_variance_usd2=residual_variance - cost_usd_per_success**2 * success_variance,
        success_variance=success_variance,
        covariance_usd=0.0,
    )


def sonnet_arms() -> tuple[ArmSummary, ArmSummary]:
    """Return Claude 4 and 4.5 Sonnet: 500 agent runs each.

    The two published standard errors (of the difference, 0.0455618159, and of the log ratio, 0.0677198268)
    and the two ratios determine both arms' variances: v0 + v1 = se², v0/R0² + v1/R1² = se_log².
    """
    ratios = (0.5732301972, 0.7908424092)
    matrix = [[1, 1], [1 / ratios[0] ** 2, 1 / ratios[1] ** 2]]
    variances = np.linalg.solve(matrix, [0.0455618159**2, 0.0677198268**2])
    return (
        sonnet_arm(0.371453, ratios[0], float(variances[0])),
        sonnet_arm(0.558335, ratios[1], float(variances[1])),
    )


def test_cost_per_success_of_two_sonnets_matches_the_published_comparison():
    comparison = cost_per_success_difference(*sonnet_arms())
    difference, log_ratio = comparison.difference_usd, comparison.log_ratio
    assert comparison.control_usd == pytest.approx(0.5732301972, abs=1e-10)
    assert comparison.treatment_usd == pytest.approx(0.7908424092, abs=1e-10)
    assert difference is not None
    assert log_ratio is not None
    assert difference.estimate == pytest.approx(0.217612212, abs=1e-9)
    assert difference.z == pytest.approx(4.7761970782, abs=1e-7)
    assert (difference.low, difference.high) == pytest.approx((0.12820166, 0.30702277), abs=2e-7)
    assert difference.p_value == pytest.approx(2.0606693249547448e-06, rel=1e-3)
    assert log_ratio.estimate == pytest.approx(0.3218113417, abs=1e-9)
    assert log_ratio.standard_error == pytest.approx(0.0677198268, abs=1e-9)


def test_summary_of_runs_has_sample_moments():
    arm = ArmSummary.from_runs([1.0, 2.0, 3.0, 6.0], [True, False, True, True])
    assert arm.mean_cost_usd == 3
    assert arm.success_share == 0.75
    # Squares about 3: 4 + 1 + 0 + 9 = 14; about 0.75: 3 x 0.0625 + 0.5625 = 0.75; products: 0.25 x (-2 + 0 +
    # 3) + 0.75 = 1
    assert arm.cost_variance_usd2 == pytest.approx(14 / 3)
    assert arm.success_variance == pytest.approx(0.25)
    assert arm.covariance_usd == pytest.approx(1 / 3)
    assert arm.cost_usd_per_success == 4


def test_linearised_variance_is_that_of_the_residuals():
    costs, successes = [1.0, 2.0, 3.0, 6.0], [True, False, True, True]
    residuals = np.array(costs) - 4 * np.array(successes)
    arm = ArmSummary.from_runs(costs, successes)
    assert arm.linearised_mean_variance(4.0) == pytest.approx(residuals.var(ddof=1) / 4)


def test_arm_without_success_is_not_compared():
    arm = ArmSummary.from_runs([1.0, 2.0], [False, False])
    comparison = cost_per_success_difference(arm, ArmSummary.from_runs([1.0, 2.0], [True, True]))
    assert comparison.control_usd is None
    assert comparison.treatment_usd == 1.5
    assert comparison.difference_usd is None
    assert comparison.reason == "an arm has no success, or no cost, so its cost per success cannot be compared"


def test_arms_without_variance_have_a_difference_without_a_test():
    same = ArmSummary.from_runs([1.0, 1.0], [True, True])
    comparison = cost_per_success_difference(same, ArmSummary.from_runs([2.0, 2.0], [True, True]))
    assert comparison.difference_usd is not None
    assert comparison.difference_usd.estimate == 1
    assert comparison.difference_usd.p_value is None
    assert comparison.linearised_p_value is None


def test_linearised_test_keeps_its_size_with_few_successes(rng: np.random.Generator):
    linearised, delta = 0, 0
    for _ in range(600):
        arms = [
            ArmSummary.from_runs(np.exp(rng.normal(-1, 1, 40)).tolist(), (rng.random(40) < 0.3).tolist())
            for _ in range(2)
        ]
        comparison = cost_per_success_difference(arms[0], arms[1])
        assert comparison.difference_usd is not None
        linearised += comparison.linearised_p_value < 0.05
        delta += comparison.difference_usd.p_value < 0.05
    # Nominal 0.05; published 0.045 to 0.057 for the linearised test and 0.000 to 0.036 for delta at n = 30 to
    # 100.
    assert 0.03 <= linearised / 600 <= 0.08
    assert delta < linearised


def test_interval_of_cost_per_success_after_a_pilot():
    # 30 of 50 runs at 0.30 USD succeed: 0.50 USD per success, 90 % interval 0.42 to 0.62.
    arm = ArmSummary.from_runs([0.30] * 50, [True] * 30 + [False] * 20)
    interval = cost_per_success_interval(arm, confidence_share=0.90)
    assert arm.cost_usd_per_success == pytest.approx(0.5)
    assert (interval.low, interval.high) == pytest.approx((0.4182, 0.6216), abs=1e-4)


def test_interval_of_cost_per_success_is_unbounded_with_too_few_successes():
    arm = ArmSummary.from_runs([0.30] * 20, [True] + [False] * 19)
    interval = cost_per_success_interval(arm)
    assert (interval.low, interval.high) == (None, None)
    assert interval.reason == "too few successes: the success share does not differ from zero"


def test_success_share_difference_matches_newcombe():
    # Newcombe 1998, 56/70 - 48/80, method 10: 0.0524 to 0.3339.
    difference = success_share_difference(48, 80, 56, 70)
    assert difference.estimate == pytest.approx(0.2)
    assert (difference.low, difference.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    # Pooled share 104/150: se = sqrt(0.69333 x 0.30667 x (1/80 + 1/70)) = 0.075466
    assert difference.z == pytest.approx(0.2 / 0.0754660, rel=1e-4)
    assert difference.p_value == pytest.approx(math.erfc(0.2 / 0.0754660 / math.sqrt(2)), rel=1e-3)


def test_success_share_difference_of_certain_arms_has_no_test_and_keeps_an_interval():
    difference = success_share_difference(10, 10, 10, 10)
    assert difference.z is None
    # Wilson's lower limit of 10/10 is 1/(1 + 1.96²/10) = 0.7225.
    assert (difference.low, difference.high) == pytest.approx((-0.2775, 0.2775), abs=5e-5)


@pytest.mark.parametrize(("successes", "count"), [(3, 2), (-1, 2), (0, 0)])
def test_success_share_difference_refuses_impossible_counts(successes: int, count: int):
    with pytest.raises(ValueError, match="expected 0 to count"):
        success_share_difference(successes, count, 1, 2)


def test_always_valid_interval_matches_the_published_one():
    # Published for mean cost of the two Sonnets: unpaired se 0.01894035873, N = 5000, 0.12316833284 to
    # 0.25059481336.
    half_width = always_valid_half_width(0.01894035873, 1000, tuning_count=5000)
    assert half_width == pytest.approx((0.25059481336 - 0.12316833284) / 2, abs=1e-7)


def test_always_valid_interval_refuses_no_instances():
    with pytest.raises(ValueError, match="at least 1"):
        always_valid_half_width(1.0, 0, tuning_count=10)


@pytest.mark.parametrize(("costs", "successes"), [([1.0], [True]), ([1.0, 2.0], [True])])
def test_summary_refuses_too_few_or_unequal_runs(costs: list[float], successes: list[bool]):
    with pytest.raises(ValueError, match="at least 2"):
        ArmSummary.from_runs(costs, successes)


def test_summary_refuses_impossible_moments():
    with pytest.raises(ValueError, match="at least 2"):
        ArmSummary(1, 1.0, 0.5, 1.0, 0.25, 0.0)
    with pytest.raises(ValueError, match="0 to 1"):
        ArmSummary(10, 1.0, 1.5, 1.0, 0.25, 0.0)


def test_comparison_refuses_confidence_in_percent():
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        cost_per_success_difference(*sonnet_arms(), confidence_share=95)
