"""Recovered parameters, closed forms, and the score on real traffic."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import lognorm

from dagster_project.statistics.log_histogram import LogHistogram
from dagster_project.statistics.lognormal_mixture import (
    LognormalMixture,
    binned_log_score,
    fit_lognormal_mixture,
)
from dagster_project.statistics.lognormal_mixture import (
    _bins_of as bins_of,
)
from dagster_project.statistics.lognormal_mixture import (
    _em_step as em_step,
)
from dagster_project.statistics.lognormal_mixture import (
    _slices_of_equal_mass as slices_of_equal_mass,
)
from tests.statistics.conftest import histogram_of_floats, histogram_of_microdollars

AZURE_TRACE = Path(__file__).parents[3] / "shared/data/azure_llm_2023/AzureLLMInferenceTrace_conv.csv"


def known_mixture(**changes: object) -> LognormalMixture:
    parts: dict = {
        "weights": (0.3, 0.7),
        "means_log": (-5.0, -2.0),
        "sds_log": (0.5, 0.8),
        "zero_share": 0.0,
        "upper_bound_usd": None,
        "observation_count": 100,
        "log_likelihood": 0.0,
        "bic": 0.0,
    }
    return LognormalMixture(**(parts | changes))


def test_single_component_equals_scipy_on_the_raw_values(rng: np.random.Generator):
    values = np.exp(rng.normal(-4, 0.7, 4000))
    fitted = fit_lognormal_mixture(histogram_of_floats(values), max_component_count=1)
    shape, _, scale = lognorm.fit(values, floc=0)
    assert fitted is not None
    # The grid adds at most a bucket's width over sqrt(12 n) to the mean: 5e-5.
    assert fitted.means_log[0] == pytest.approx(math.log(scale), abs=3e-4)
    assert fitted.sds_log[0] == pytest.approx(shape, abs=3e-4)


def test_known_mixture_is_recovered(rng: np.random.Generator):
    logs = np.r_[rng.normal(-5, 0.5, 6000), rng.normal(-2, 0.8, 14_000)]
    fitted = fit_lognormal_mixture(histogram_of_floats(np.exp(logs)))
    assert fitted is not None
    assert fitted.component_count == 2
    # Standard errors at this n are below 0.01 for each parameter.
    assert fitted.weights == pytest.approx((0.3, 0.7), abs=0.015)
    assert fitted.means_log == pytest.approx((-5, -2), abs=0.04)
    assert fitted.sds_log == pytest.approx((0.5, 0.8), abs=0.03)


def test_fit_equals_raw_data_em_on_a_small_sample(rng: np.random.Generator):
    logs = np.r_[rng.normal(-5, 0.5, 150), rng.normal(-2, 0.5, 150)]
    weights, means, sds = np.array([0.5, 0.5]), np.array([-5.0, -2.0]), np.array([0.5, 0.5])
    for _ in range(500):
        density = weights * np.exp(-0.5 * ((logs[:, None] - means) / sds) ** 2) / sds
        share = density / density.sum(axis=1, keepdims=True)
        weights = share.mean(axis=0)
        means = share.T @ logs / share.sum(axis=0)
        sds = np.sqrt((share * (logs[:, None] - means) ** 2).sum(axis=0) / share.sum(axis=0))
    fitted = fit_lognormal_mixture(histogram_of_floats(np.exp(logs)), max_component_count=2)
    assert fitted is not None
    assert fitted.weights == pytest.approx(weights, abs=1e-3)
    assert fitted.means_log == pytest.approx(means, abs=2e-3)
    assert fitted.sds_log == pytest.approx(sds, abs=2e-3)


def test_em_never_lowers_the_likelihood(rng: np.random.Generator):
    bins = bins_of(histogram_of_floats(np.exp(np.r_[rng.normal(-4, 0.3, 500), rng.normal(-3, 1, 500)])))
    parameters = slices_of_equal_mass(bins, 4)
    likelihoods = []
    for _ in range(60):
        parameters, likelihood = em_step(bins, parameters)
        likelihoods.append(likelihood)
    assert min(np.diff(likelihoods)) >= -1e-8


def test_fit_is_deterministic(rng: np.random.Generator):
    histogram = histogram_of_floats(np.exp(rng.normal(-4, 1, 500)))
    assert fit_lognormal_mixture(histogram) == fit_lognormal_mixture(histogram)


def test_bic_chooses_one_component_for_one_lognormal(rng: np.random.Generator):
    fitted = fit_lognormal_mixture(histogram_of_floats(np.exp(rng.normal(-4, 1, 2000))))
    assert fitted is not None
    assert fitted.component_count == 1
    assert fitted.bic == pytest.approx(-2 * fitted.log_likelihood + 2 * math.log(2000))


def test_tied_values_do_not_break_the_fit():
    histogram = histogram_of_microdollars(np.repeat(np.array([58_125, 103_125]), [80, 20]))
    fitted = fit_lognormal_mixture(histogram)
    assert fitted is not None
    assert fitted.weights == pytest.approx((0.8, 0.2), abs=0.01)
    assert fitted.mean_usd() == pytest.approx(0.8 * 0.0058125 + 0.2 * 0.0103125, rel=0.006)


def test_single_observation_gives_the_narrowest_component():
    fitted = fit_lognormal_mixture(histogram_of_microdollars(np.array([10_000_000])))
    assert fitted is not None
    assert fitted.quantile_usd(0.5) == pytest.approx(1, rel=0.006)


def test_histogram_of_zeros_has_no_mixture():
    assert fit_lognormal_mixture(histogram_of_microdollars(np.zeros(5, dtype=np.int64))) is None


def test_zero_share_is_a_hurdle():
    mixture = known_mixture(zero_share=0.25)
    assert float(mixture.cdf(0.0)) == 0.25
    assert float(mixture.cdf(-1.0)) == 0
    assert mixture.quantile_usd(0.2) == 0
    assert mixture.mean_usd() == pytest.approx(0.75 * known_mixture().mean_usd())


def test_mean_is_the_closed_form():
    expected = 0.3 * math.exp(-5 + 0.125) + 0.7 * math.exp(-2 + 0.32)
    assert known_mixture().mean_usd() == pytest.approx(expected)


@given(st.floats(0.001, 0.999), st.sampled_from([None, 0.5]), st.sampled_from([0.0, 0.1]))
@settings(max_examples=50)
def test_quantile_inverts_the_cdf(quantile: float, upper_bound_usd: float | None, zero_share: float):
    mixture = known_mixture(upper_bound_usd=upper_bound_usd, zero_share=zero_share)
    expected = max(quantile, zero_share)
    assert float(mixture.cdf(mixture.quantile_usd(quantile))) == pytest.approx(expected, abs=1e-9)


def test_upper_bound_cuts_the_tail_and_the_mean(rng: np.random.Generator):
    mixture = known_mixture(upper_bound_usd=0.2)
    logs = np.r_[rng.normal(-5, 0.5, 300_000), rng.normal(-2, 0.8, 700_000)]
    values = np.exp(logs[logs <= math.log(0.2)])
    assert float(mixture.cdf(0.2)) == 1
    assert mixture.quantile_usd(0.9999) <= 0.2
    assert mixture.mean_usd() == pytest.approx(values.mean(), rel=0.005)
    assert mixture.density_log(np.array([0.21])).tolist() == [0.0]


def test_density_integrates_to_the_positive_share():
    logs = np.linspace(-12, 5, 20_001)
    density = known_mixture(zero_share=0.25).density_log(np.exp(logs))
    assert np.trapezoid(density, logs) == pytest.approx(0.75, abs=1e-6)


def test_fit_refuses_observations_above_the_bound():
    histogram = histogram_of_microdollars(np.array([10_000_000, 20_000_000]))
    with pytest.raises(ValueError, match="Correct the bound"):
        fit_lognormal_mixture(histogram, upper_bound_usd=1.5)


def test_fit_refuses_no_component():
    with pytest.raises(ValueError, match="expected >= 1"):
        fit_lognormal_mixture(histogram_of_microdollars(np.array([1])), max_component_count=0)


@pytest.mark.parametrize("quantile", [0, 1])
def test_quantile_refuses_the_ends(quantile: int):
    with pytest.raises(ValueError, match="0 < quantile < 1"):
        known_mixture().quantile_usd(quantile)


def test_score_of_a_point_model_is_the_log_of_its_mass():
    # All mass in the 2 % bucket of 1 USD, where all held-out values lie: ln((1 - 1e-5) + 1e-5) = 0.
    mixture = known_mixture(weights=(1.0,), means_log=(-0.00995,), sds_log=(0.001,))
    held_out = histogram_of_microdollars(np.array([10_000_000, 9_850_000]))
    assert binned_log_score(mixture, held_out) == pytest.approx(0, abs=1e-6)
    assert binned_log_score(mixture, LogHistogram.from_values([])) is None


def test_surprise_costs_a_finite_score():
    mixture = known_mixture(weights=(1.0,), means_log=(-0.00995,), sds_log=(0.001,))
    score = binned_log_score(mixture, histogram_of_microdollars(np.array([10**12])))
    assert score == pytest.approx(math.log(1e-5))


@pytest.mark.skipif(not AZURE_TRACE.exists(), reason="the Azure LLM inference trace is not beside the project")
@pytest.mark.parametrize("split", ["random", "time"])
def test_mixture_beats_the_single_lognormal_on_the_azure_trace(split: str, rng: np.random.Generator):
    with AZURE_TRACE.open(newline="") as file:
        tokens = np.array([(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in csv.DictReader(file)])
    # 2.50 and 10.00 USD per million tokens are 25 and 100 units of 1e-7 USD per token.
    costs = tokens @ np.array([25, 100])
    assert len(costs) == 19_366
    if split == "random":
        costs = rng.permutation(costs)
    train, held_out = (histogram_of_microdollars(half) for half in np.array_split(costs, 2))
    mixture = fit_lognormal_mixture(train)
    single = fit_lognormal_mixture(train, max_component_count=1)
    assert mixture is not None
    assert single is not None
    mixture_score, single_score = binned_log_score(mixture, held_out), binned_log_score(single, held_out)
    assert mixture_score is not None
    assert single_score is not None
    # Published for five data sets: mean gain 0.20 nats, largest 0.60; this trace was measured at 0.59 and
    # 0.40.
    assert 0.2 < mixture_score - single_score < 0.8
