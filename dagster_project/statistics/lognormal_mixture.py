"""A mixture of lognormals fitted to a log histogram by EM, the number of components chosen by BIC.

The family that lost least over chat, code, long-context and agent costs up to about 10^4 observations; from
10^5 on the histogram itself predicts better, and the mixture is only the smooth curve through it. Belongs
here: the fit, its distribution functions, its score on held-out data. Does not belong here: which histograms
to fit, and storing them.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from dagster_project.statistics.log_histogram import LOG_GAMMA, FloatArray, LogHistogram

MAX_COMPONENT_COUNT = 10
"""Largest mixture tried."""

MIN_SD_LOG = LOG_GAMMA / math.sqrt(12)
"""Floor of a component's sd of ln USD: the sd of a uniform over one bucket, the narrowest the grid can
resolve."""

SCORE_FLOOR_SHARE = 1e-5
"""Mass spread evenly over the scored range, so that one surprise costs a finite score."""

_SCREENING_ITERATION_COUNT = 40
_PATIENCE = 3
_POLISHING_ITERATION_COUNT = 600
_CONVERGED_GAIN = 1e-8
_TINY = 1e-300
_SQRT_2PI = math.sqrt(2 * math.pi)


@dataclass(frozen=True)
class LognormalMixture:
    """A share of exact zeros, and a mixture of lognormals above zero.

    Attributes:
        weights: Component weights, summing to 1; components are ordered by mean.
        means_log: Means of ln USD.
        sds_log: Standard deviations of ln USD.
        zero_share: Probability of exactly 0 USD (a hurdle before the mixture).
        upper_bound_usd: Physical maximum of one observation (context window x input price + output limit x
            output price, or a cost cap), or None. The fitted mixture is cut there and renormalised: without
            it an unbounded tail overstates P99.9 several times. The fit itself does not see the bound.
        observation_count: Positive observations fitted.
        log_likelihood: Sum over positive observations of ln(probability of their bucket), in nats.
        bic: -2 log_likelihood + (3K - 1) ln observation_count; smaller is better.
    """

    weights: tuple[float, ...]
    means_log: tuple[float, ...]
    sds_log: tuple[float, ...]
    zero_share: float
    upper_bound_usd: float | None
    observation_count: int
    log_likelihood: float
    bic: float

    @property
    def component_count(self) -> int:
        """Number of lognormal components."""
        return len(self.weights)

    def cdf(self, values_usd: "float | FloatArray") -> FloatArray:
        """Return P(X <= x), zeros included.

        Args:
            values_usd: USD, any shape.

        Returns:
            Probabilities, the same shape.
        """
        values = np.asarray(values_usd, dtype=np.float64)
        with np.errstate(divide="ignore"):
            logs = np.log(np.maximum(values, 0.0))
        positive = self._positive_cdf(logs)
        if self.upper_bound_usd is not None:
            positive = np.minimum(positive / self._mass_below_bound, 1.0)
        return np.where(values < 0, 0.0, self.zero_share + (1 - self.zero_share) * positive)

    def quantile_usd(self, quantile: float) -> float:
        """Return the smallest x with cdf(x) >= quantile.

        Args:
            quantile: Strictly between 0 and 1.

        Returns:
            USD; 0.0 within the share of zeros. A model value: publish it only as modelled.

        Raises:
            ValueError: The quantile is not strictly between 0 and 1.
        """
        if not 0 < quantile < 1:
            raise ValueError(f"Reading a quantile of a mixture: got {quantile}, expected 0 < quantile < 1.")
        if quantile <= self.zero_share:
            return 0.0
        target = (quantile - self.zero_share) / (1 - self.zero_share) * self._mass_below_bound
        means, sds = np.asarray(self.means_log), np.asarray(self.sds_log)
        # Beyond 39 sd a float's normal tail is exactly 0 or 1, so the root lies inside.
        low, high = float(np.min(means - 39 * sds)), float(np.max(means + 39 * sds))
        return math.exp(brentq(lambda log: float(self._positive_cdf(np.asarray(log))) - target, low, high))

    def mean_usd(self) -> float:
        """Return E[X] in USD, zeros and the upper bound included.

        Report the exact mean of the histogram instead wherever there is one; this is the model's, for
        simulation.
        """
        weights, means, sds = (np.asarray(part) for part in (self.weights, self.means_log, self.sds_log))
        component_means = np.exp(means + sds**2 / 2)
        if self.upper_bound_usd is not None:
            component_means = component_means * ndtr((math.log(self.upper_bound_usd) - means) / sds - sds)
        return (1 - self.zero_share) * float(weights @ component_means) / self._mass_below_bound

    def density_log(self, values_usd: FloatArray) -> FloatArray:
        """Return the density of ln X at positive values (per unit of ln USD, zeros keep their own mass)."""
        logs = np.log(np.asarray(values_usd, dtype=np.float64))[..., None]
        means, sds = np.asarray(self.means_log), np.asarray(self.sds_log)
        parts = np.exp(-0.5 * ((logs - means) / sds) ** 2) / (sds * _SQRT_2PI)
        density = (1 - self.zero_share) * (parts @ np.asarray(self.weights)) / self._mass_below_bound
        if self.upper_bound_usd is not None:
            density = np.where(logs[..., 0] > math.log(self.upper_bound_usd), 0.0, density)
        return np.asarray(density)

    @property
    def _mass_below_bound(self) -> float:
        if self.upper_bound_usd is None:
            return 1.0
        return float(self._positive_cdf(np.asarray(math.log(self.upper_bound_usd))))

    def _positive_cdf(self, logs: FloatArray) -> FloatArray:
        z = (logs[..., None] - np.asarray(self.means_log)) / np.asarray(self.sds_log)
        return np.asarray(ndtr(z) @ np.asarray(self.weights))


@dataclass(frozen=True)
class _Bins:
    """Occupied buckets in ln USD: lower edges, upper edges, counts; three arrays of one length."""

    lower: FloatArray
    upper: FloatArray
    counts: FloatArray

    @property
    def middle(self) -> FloatArray:
        return (self.lower + self.upper) / 2

    @property
    def total(self) -> float:
        return float(self.counts.sum())


@dataclass(frozen=True)
class _Parameters:
    """Weights, means and sds of ln USD, one entry per component."""

    weights: FloatArray
    means: FloatArray
    sds: FloatArray


def fit_lognormal_mixture(
    histogram: LogHistogram,
    *,
    max_component_count: int = MAX_COMPONENT_COUNT,
    upper_bound_usd: float | None = None,
) -> LognormalMixture | None:
    """Fit K = 1..max_component_count lognormals by EM and return the one with the smallest BIC.

    The EM is that of grouped data: a component's mass in a bucket and its moments within the bucket are
    integrals of the normal over the bucket (McLachlan & Jones, Biometrics 1988), not a density at the
    midpoint. Token counts are tied, so a midpoint likelihood grows without bound as a component shrinks onto
    one bucket; the integrated one is a probability, rises at each step, and is the score that held-out data
    are judged by. For each K three deterministic starts (equal-mass slices, even spacing, the best K-1 with
    its widest component split) are screened and the best one is polished. The search ends when the last three K
    brought no smaller BIC.

    Args:
        histogram: Observations; zeros become `zero_share`, and K never exceeds the number of occupied
            buckets.
        max_component_count: Largest K tried, at least 1.
        upper_bound_usd: Physical maximum of one observation, or None.

    Returns:
        The fitted mixture, or None when the histogram has no positive observation.

    Raises:
        ValueError: `max_component_count` is below 1, or observations lie above `upper_bound_usd`.
    """
    if max_component_count < 1:
        raise ValueError(f"Fitting a mixture: max_component_count is {max_component_count}, expected >= 1.")
    if not histogram.buckets:
        return None
    bins = _bins_of(histogram)
    if upper_bound_usd is not None and math.log(upper_bound_usd) < bins.lower[-1]:
        raise ValueError(
            f"Fitting a mixture: an observation above {math.exp(bins.lower[-1]):.6g} USD exceeds "
            f"upper_bound_usd {upper_bound_usd}. Correct the bound, or the price that made the observation."
        )
    candidates: list[tuple[float, float, _Parameters]] = []
    previous: _Parameters | None = None
    for component_count in range(1, min(max_component_count, len(histogram.buckets)) + 1):
        previous, log_likelihood = _fit_components(bins, component_count, previous)
        bic = -2 * log_likelihood + (3 * component_count - 1) * math.log(bins.total)
        candidates.append((bic, log_likelihood, previous))
        best = min(range(len(candidates)), key=lambda index: candidates[index][0])
        if len(candidates) - 1 - best >= _PATIENCE:
            break
    bic, log_likelihood, parameters = min(candidates, key=lambda candidate: candidate[0])
    order = np.argsort(parameters.means, kind="stable")
    return LognormalMixture(
        weights=tuple(parameters.weights[order].tolist()),
        means_log=tuple(parameters.means[order].tolist()),
        sds_log=tuple(parameters.sds[order].tolist()),
        zero_share=histogram.zero_share or 0.0,
        upper_bound_usd=upper_bound_usd,
        observation_count=histogram.positive_count,
        log_likelihood=log_likelihood,
        bic=bic,
    )


def binned_log_score(mixture: LognormalMixture, held_out: LogHistogram) -> float | None:
    """Return the mean log score of held-out positive observations, on 2 % buckets (pairs of 1 % buckets).

    A proper score; larger is better. Scoring the mass of a bucket instead of a density keeps tied token
    counts from rewarding spikes. `SCORE_FLOOR_SHARE` of the mass is spread evenly over the buckets from the
    first to the last held-out one.

    Args:
        mixture: The model, fitted on other data.
        held_out: The observations to predict.

    Returns:
        Nats per observation, or None when there is no positive held-out observation.
    """
    if not held_out.buckets:
        return None
    # Buckets 2j-1 and 2j become pair j, which holds 1.01^(2j-2) < x <= 1.01^(2j).
    pairs = -(-np.asarray(held_out.buckets, dtype=np.int64) // 2)
    upper = np.exp(2 * pairs * LOG_GAMMA)
    positive_share = 1 - mixture.zero_share
    mass = (mixture.cdf(upper) - mixture.cdf(upper * math.exp(-2 * LOG_GAMMA))) / positive_share
    floor = SCORE_FLOOR_SHARE / float(pairs[-1] - pairs[0] + 1)
    scores = np.log((1 - SCORE_FLOOR_SHARE) * mass + floor)
    return float(np.average(scores, weights=np.asarray(held_out.counts, dtype=np.float64)))


def _bins_of(histogram: LogHistogram) -> _Bins:
    ids = np.asarray(histogram.buckets, dtype=np.float64)
    return _Bins(
        lower=(ids - 1) * LOG_GAMMA,
        upper=ids * LOG_GAMMA,
        counts=np.asarray(histogram.counts, dtype=np.float64),
    )


def _fit_components(bins: _Bins, component_count: int, previous: _Parameters | None) -> tuple[_Parameters, float]:
    starts = [_slices_of_equal_mass(bins, component_count)]
    if previous is not None:
        starts += [_evenly_spaced(bins, component_count), _split_widest(previous)]
    screened = [_expectation_maximisation(bins, start, _SCREENING_ITERATION_COUNT) for start in starts]
    parameters, _ = max(screened, key=lambda candidate: candidate[1])
    return _expectation_maximisation(bins, parameters, _POLISHING_ITERATION_COUNT)


def _slices_of_equal_mass(bins: _Bins, component_count: int) -> _Parameters:
    position = (np.cumsum(bins.counts) - bins.counts / 2) / bins.total
    slice_of = np.minimum((position * component_count).astype(np.int64), component_count - 1)
    weights = np.bincount(slice_of, bins.counts, minlength=component_count)
    # A heavy bucket can leave a slice empty; it then starts at the overall mean with a token weight.
    overall = float(bins.counts @ bins.middle) / bins.total
    sums = np.bincount(slice_of, bins.counts * bins.middle, minlength=component_count)
    means = np.where(weights > 0, sums / np.maximum(weights, _TINY), overall)
    squares = np.bincount(slice_of, bins.counts * (bins.middle - means[slice_of]) ** 2, minlength=component_count)
    sds = np.sqrt(squares / np.maximum(weights, _TINY) + LOG_GAMMA**2)
    return _normalised(np.maximum(weights, 1.0), means, sds)


def _evenly_spaced(bins: _Bins, component_count: int) -> _Parameters:
    cumulative = np.cumsum(bins.counts) / bins.total
    low = bins.lower[np.searchsorted(cumulative, 0.005)]
    high = bins.upper[min(int(np.searchsorted(cumulative, 0.995)), len(cumulative) - 1)]
    width = float(high - low) / component_count
    means = low + width * (np.arange(component_count) + 0.5)
    sds = np.full(component_count, max(width / 2, MIN_SD_LOG))
    return _normalised(np.ones(component_count), means, sds)


def _split_widest(parameters: _Parameters) -> _Parameters:
    widest = int(np.argmax(parameters.weights * parameters.sds))
    shift = np.zeros_like(parameters.means)
    shift[widest] = parameters.sds[widest] * 0.7
    weights = parameters.weights.copy()
    weights[widest] /= 2
    sds = parameters.sds.copy()
    sds[widest] *= 0.7
    return _normalised(
        np.r_[weights, weights[widest]],
        np.r_[parameters.means - shift, parameters.means[widest] + shift[widest]],
        np.r_[sds, sds[widest]],
    )


def _normalised(weights: FloatArray, means: FloatArray, sds: FloatArray) -> _Parameters:
    return _Parameters(weights / weights.sum(), means, np.maximum(sds, MIN_SD_LOG))


def _expectation_maximisation(bins: _Bins, start: _Parameters, iteration_count: int) -> tuple[_Parameters, float]:
    """Return the last parameters and their log-likelihood in nats."""
    parameters, log_likelihood = start, -math.inf
    for _ in range(iteration_count):
        updated, new_log_likelihood = _em_step(bins, parameters)
        if new_log_likelihood - log_likelihood < _CONVERGED_GAIN * bins.total:
            return parameters, max(new_log_likelihood, log_likelihood)
        parameters, log_likelihood = updated, new_log_likelihood
    return parameters, _em_step(bins, parameters)[1]


def _em_step(bins: _Bins, parameters: _Parameters) -> tuple[_Parameters, float]:
    """Return the updated parameters, and the log-likelihood of those handed in."""
    weights, means, sds = parameters.weights, parameters.means, parameters.sds
    alpha = (bins.lower[:, None] - means) / sds
    beta = (bins.upper[:, None] - means) / sds
    # Differences are taken in the lower tail, where they keep their digits.
    is_above = alpha > 0
    mass = ndtr(np.where(is_above, -alpha, beta)) - ndtr(np.where(is_above, -beta, alpha))
    joint = weights * mass
    evidence = np.maximum(joint.sum(axis=1), _TINY)
    log_likelihood = float(bins.counts @ np.log(evidence))

    responsibility = (joint / evidence[:, None]) * bins.counts[:, None]
    component_mass = np.maximum(responsibility.sum(axis=0), _TINY)
    first, second = _moments_within(alpha, beta, mass)
    shift = (responsibility * first).sum(axis=0) / component_mass
    variance = (responsibility * second).sum(axis=0) / component_mass - shift**2
    sds_new = sds * np.sqrt(np.maximum(variance, 0.0))
    return _normalised(component_mass, means + sds * shift, sds_new), log_likelihood


def _moments_within(alpha: FloatArray, beta: FloatArray, mass: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return E[u] and E[u²] of a standard normal known to lie between alpha and beta."""
    is_reachable = mass > _TINY
    safe_mass = np.where(is_reachable, mass, 1.0)
    density_alpha = np.exp(-0.5 * alpha**2) / _SQRT_2PI
    density_beta = np.exp(-0.5 * beta**2) / _SQRT_2PI
    middle = (alpha + beta) / 2
    first = np.where(is_reachable, (density_alpha - density_beta) / safe_mass, middle)
    second = np.where(is_reachable, 1 + (alpha * density_alpha - beta * density_beta) / safe_mass, middle**2)
    return first, second
