"""Comparing two versions of a use case: cost per success, success share, and when one may look.

Belongs here: estimates, intervals and tests from sufficient statistics of each arm. Does not belong here:
assigning instances to arms and reading them; observations are to be aggregated to the randomised unit before.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.stats import norm, t

_MIN_RUN_COUNT = 2


@dataclass(frozen=True)
class ArmSummary:
    """Sufficient statistics of one arm, one observation per instance; estimates in float USD.

    Attributes:
        instance_count: Instances, at least 2.
        mean_cost_usd: Mean cost per instance, failures included (leaving them out hides a third of spend or
            more).
        success_share: Successes per instance.
        cost_variance_usd2: Sample variance (n - 1) of the cost.
        success_variance: Sample variance (n - 1) of success (0 or 1).
        covariance_usd: Sample covariance (n - 1) of cost and success.
    """

    instance_count: int
    mean_cost_usd: float
    success_share: float
    cost_variance_usd2: float
    success_variance: float
    covariance_usd: float

    def __post_init__(self) -> None:
        if self.instance_count < _MIN_RUN_COUNT:
            raise ValueError(f"Summarising an arm: got {self.instance_count} instances, expected at least 2.")
        if not 0 <= self.success_share <= 1:
            raise ValueError(f"Summarising an arm: success_share is {self.success_share}, expected 0 to 1.")

    @classmethod
    def from_runs(cls, costs_usd: Sequence[float], is_success: Sequence[bool]) -> Self:
        """Summarise single runs.

        Args:
            costs_usd: Cost per instance.
            is_success: Outcome per instance, in the same order.

        Returns:
            The summary.

        Raises:
            ValueError: The lengths differ, or there are fewer than 2 instances.
        """
        if len(costs_usd) != len(is_success) or len(costs_usd) < _MIN_RUN_COUNT:
            raise ValueError(
                f"Summarising an arm: got {len(costs_usd)} costs and {len(is_success)} outcomes, "
                "expected as many of each and at least 2."
            )
        costs = np.asarray(costs_usd, dtype=np.float64)
        successes = np.asarray(is_success, dtype=np.float64)
        covariances = np.cov(costs, successes)
        return cls(
            instance_count=len(costs),
            mean_cost_usd=float(costs.mean()),
            success_share=float(successes.mean()),
            cost_variance_usd2=float(covariances[0, 0]),
            success_variance=float(covariances[1, 1]),
            covariance_usd=float(covariances[0, 1]),
        )

    @property
    def cost_usd_per_success(self) -> float | None:
        """Total cost / total successes; None without a success."""
        return self.mean_cost_usd / self.success_share if self.success_share else None

    def linearised_mean_variance(self, ratio_usd: float) -> float:
        """Return the variance of the mean of cost - ratio·success, in USD²."""
        variance = self.cost_variance_usd2 - 2 * ratio_usd * self.covariance_usd + ratio_usd**2 * self.success_variance
        return max(variance, 0.0) / self.instance_count


@dataclass(frozen=True)
class Difference:
    """Treatment minus control, with its uncertainty.

    Attributes:
        estimate: The difference, in the unit of the metric.
        standard_error: Of the estimate.
        z: estimate / standard_error; None when the standard error is 0.
        p_value: Two-sided; None when the standard error is 0.
        low: Lower end of the confidence interval.
        high: Upper end of the confidence interval.
        confidence_share: Nominal coverage.
    """

    estimate: float
    standard_error: float
    z: float | None
    p_value: float | None
    low: float
    high: float
    confidence_share: float


@dataclass(frozen=True)
class CostPerSuccessComparison:
    """Cost per success of two arms.

    Attributes:
        control_usd: Control's cost per success; None without a success.
        treatment_usd: Treatment's cost per success; None without a success.
        difference_usd: Delta-method difference with a Welch t interval; None when `reason` is set.
        log_ratio: ln(treatment / control) by the delta method; its exponentials bound the ratio. None when
            `reason` is.
        linearised_p_value: Test at the pooled ratio (Fieller); keeps its size with few successes, where the
            delta method's rejects too rarely. None when `reason` is set or nothing varies.
        reason: Why there is no comparison; None otherwise.
    """

    control_usd: float | None
    treatment_usd: float | None
    difference_usd: Difference | None
    log_ratio: Difference | None
    linearised_p_value: float | None
    reason: str | None


@dataclass(frozen=True)
class Interval:
    """A confidence interval, or the reason why there is none.

    Attributes:
        low: Lower end, in the unit of the metric; None when unbounded.
        high: Upper end; None when unbounded.
        reason: Why the ends are None; None otherwise.
    """

    low: float | None
    high: float | None
    reason: str | None


def cost_per_success_difference(
    control: ArmSummary, treatment: ArmSummary, *, confidence_share: float = 0.95
) -> CostPerSuccessComparison:
    """Compare total cost / total successes between two arms.

    With R the ratio of an arm, Var(R) = Var(mean of cost - R·success) / success_share² (delta method; Deng,
    Knoblich & Lu, KDD 2018). Intervals use Welch's degrees of freedom. Report the interval of the difference
    or of the log ratio; decide on the linearised test when an arm has few successes.

    Args:
        control: The version in place.
        treatment: The version that may replace it.
        confidence_share: Nominal coverage, strictly between 0 and 1.

    Returns:
        The comparison; differences are None with a reason when an arm has no success or costs nothing.

    Raises:
        ValueError: The confidence is not strictly between 0 and 1.
    """
    _check_confidence(confidence_share)
    control_ratio, treatment_ratio = control.cost_usd_per_success, treatment.cost_usd_per_success
    if not control_ratio or not treatment_ratio:
        reason = "an arm has no success, or no cost, so its cost per success cannot be compared"
        return CostPerSuccessComparison(control_ratio, treatment_ratio, None, None, None, reason)
    variances = (
        control.linearised_mean_variance(control_ratio) / control.success_share**2,
        treatment.linearised_mean_variance(treatment_ratio) / treatment.success_share**2,
    )
    log_variances = (variances[0] / control_ratio**2, variances[1] / treatment_ratio**2)
    sizes = (control.instance_count, treatment.instance_count)
    return CostPerSuccessComparison(
        control_usd=control_ratio,
        treatment_usd=treatment_ratio,
        difference_usd=_welch(treatment_ratio - control_ratio, variances, sizes, confidence_share),
        log_ratio=_welch(math.log(treatment_ratio / control_ratio), log_variances, sizes, confidence_share),
        linearised_p_value=_linearised_p_value(control, treatment),
        reason=None,
    )


def cost_per_success_interval(arm: ArmSummary, *, confidence_share: float = 0.95) -> Interval:
    """Return Fieller's interval of one arm's cost per success.

    The R for which mean(cost - R·success) does not differ from 0 at Student's t with n - 1 degrees of freedom
    (Fieller, JRSS B 1954): a quadratic in R. Bounded only when the success share itself differs from 0.

    Args:
        arm: The arm.
        confidence_share: Nominal coverage, strictly between 0 and 1.

    Returns:
        The interval in USD per success, or None ends and the reason.

    Raises:
        ValueError: The confidence is not strictly between 0 and 1.
    """
    _check_confidence(confidence_share)
    quantile_squared = float(t.ppf((1 + confidence_share) / 2, arm.instance_count - 1)) ** 2 / arm.instance_count
    a = arm.success_share**2 - quantile_squared * arm.success_variance
    b = arm.mean_cost_usd * arm.success_share - quantile_squared * arm.covariance_usd
    c = arm.mean_cost_usd**2 - quantile_squared * arm.cost_variance_usd2
    if a <= 0:
        return Interval(None, None, "too few successes: the success share does not differ from zero")
    # Bounded intervals always have two real ends; rounding alone can push the root's argument below 0.
    half = math.sqrt(max(b**2 - a * c, 0.0))
    return Interval((b - half) / a, (b + half) / a, None)


def success_share_difference(
    control_successes: int,
    control_count: int,
    treatment_successes: int,
    treatment_count: int,
    *,
    confidence_share: float = 0.95,
) -> Difference:
    """Compare two success shares: treatment minus control.

    The interval is Newcombe's hybrid of two Wilson score intervals (Statistics in Medicine 1998, method 10),
    which stays within -1 to 1 and covers at small counts; z and p are those of the pooled score test.

    Args:
        control_successes: Successes of the control.
        control_count: Instances of the control, at least 1.
        treatment_successes: Successes of the treatment.
        treatment_count: Instances of the treatment, at least 1.
        confidence_share: Nominal coverage, strictly between 0 and 1.

    Returns:
        The difference of shares; z and p are None when both arms only succeed or only fail.

    Raises:
        ValueError: Successes are not between 0 and the count, a count is below 1, or the confidence is out of
            range.
    """
    _check_confidence(confidence_share)
    for successes, count in ((control_successes, control_count), (treatment_successes, treatment_count)):
        if count < 1 or not 0 <= successes <= count:
            raise ValueError(f"Comparing success shares: got {successes} successes of {count}, expected 0 to count.")
    control_share, treatment_share = control_successes / control_count, treatment_successes / treatment_count
    estimate = treatment_share - control_share
    control_low, control_high = _wilson(control_share, control_count, confidence_share)
    treatment_low, treatment_high = _wilson(treatment_share, treatment_count, confidence_share)
    pooled = (control_successes + treatment_successes) / (control_count + treatment_count)
    standard_error = math.sqrt(pooled * (1 - pooled) * (1 / control_count + 1 / treatment_count))
    z = estimate / standard_error if standard_error else None
    return Difference(
        estimate=estimate,
        standard_error=standard_error,
        z=z,
        p_value=None if z is None else float(2 * norm.sf(abs(z))),
        low=estimate - math.hypot(treatment_share - treatment_low, control_high - control_share),
        high=estimate + math.hypot(treatment_high - treatment_share, control_share - control_low),
        confidence_share=confidence_share,
    )


def always_valid_half_width(
    standard_error: float, total_count: int, *, tuning_count: int, confidence_share: float = 0.95
) -> float:
    """Return the half-width of an interval that holds at every look, however often one looks.

    Asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2021):
    sd·√(2(nr²+1)/(n²r²)·ln(√(nr²+1)/a)) with sd² = n·SE², a = 1 - confidence, r² = (-2 ln a + ln(1 - 2 ln
    a))/N. Looking 20 times at a fixed 95 % interval was measured to raise false alarms to about 25 %; this
    one costs intervals 1.5 to 1.7 times as wide.

    Args:
        standard_error: Of the difference now, in the unit of the metric.
        total_count: Instances of both arms now, n.
        tuning_count: N, the count at which the interval is tightest.
        confidence_share: Nominal coverage over all looks, strictly between 0 and 1.

    Returns:
        Half-width, in the unit of the metric.

    Raises:
        ValueError: A count is below 1 or the confidence is out of range.
    """
    _check_confidence(confidence_share)
    if total_count < 1 or tuning_count < 1:
        raise ValueError(f"Widening an interval: counts are {total_count} and {tuning_count}, expected at least 1.")
    alpha = 1 - confidence_share
    rho_squared = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tuning_count
    scaled = total_count * rho_squared + 1
    return (
        standard_error
        * math.sqrt(total_count)
        * math.sqrt(2 * scaled / (total_count**2 * rho_squared) * math.log(math.sqrt(scaled) / alpha))
    )


def _check_confidence(confidence_share: float) -> None:
    if not 0 < confidence_share < 1:
        raise ValueError(f"Comparing arms: confidence_share is {confidence_share}, expected strictly between 0 and 1.")


def _welch(
    estimate: float, variances: tuple[float, float], sizes: tuple[int, int], confidence_share: float
) -> Difference:
    standard_error = math.sqrt(variances[0] + variances[1])
    if standard_error == 0:
        return Difference(estimate, 0.0, None, None, estimate, estimate, confidence_share)
    freedom = (variances[0] + variances[1]) ** 2 / (
        variances[0] ** 2 / (sizes[0] - 1) + variances[1] ** 2 / (sizes[1] - 1)
    )
    half = float(t.ppf((1 + confidence_share) / 2, freedom)) * standard_error
    z = estimate / standard_error
    p_value = float(2 * t.sf(abs(z), freedom))
    return Difference(estimate, standard_error, z, p_value, estimate - half, estimate + half, confidence_share)


def _linearised_p_value(control: ArmSummary, treatment: ArmSummary) -> float | None:
    arms = (control, treatment)
    total_cost = sum(arm.instance_count * arm.mean_cost_usd for arm in arms)
    ratio = total_cost / sum(arm.instance_count * arm.success_share for arm in arms)
    means = [arm.mean_cost_usd - ratio * arm.success_share for arm in arms]
    variances = (control.linearised_mean_variance(ratio), treatment.linearised_mean_variance(ratio))
    sizes = (control.instance_count, treatment.instance_count)
    return _welch(means[1] - means[0], variances, sizes, 0.95).p_value


def _wilson(share: float, count: int, confidence_share: float) -> tuple[float, float]:
    z = float(norm.ppf((1 + confidence_share) / 2))
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)
