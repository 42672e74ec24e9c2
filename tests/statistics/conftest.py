"""Histograms and histories that several statistics tests build."""

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pytest

from dagster_project.statistics.log_histogram import LogHistogram, bucket_ids
from dagster_project.statistics.roi import UseCaseDay, UseCaseHistory


def histogram_of_microdollars(amounts: npt.NDArray[np.int64]) -> LogHistogram:
    """Return the histogram of whole numbers of 1e-7 USD, with their exact sum."""
    positive = amounts[amounts > 0]
    buckets, counts = np.unique(bucket_ids(positive * 1e-7), return_counts=True)
    return LogHistogram.from_counts(
        dict(zip(buckets.tolist(), counts.tolist(), strict=True)),
        zero_count=int(len(amounts) - len(positive)),
        sum_usd=Decimal(int(amounts.sum())).scaleb(-7),
    )


def histogram_of_floats(amounts_usd: npt.NDArray[np.float64]) -> LogHistogram:
    """Return the histogram of simulated amounts, each rounded to 1e-7 USD."""
    return histogram_of_microdollars(np.rint(amounts_usd * 1e7).astype(np.int64))


def wandering_histories(rng: np.random.Generator, *, use_case_count: int, day_count: int) -> list[UseCaseHistory]:
    """Return use cases whose volume and unit cost wander from day to day, with quiet weekends."""
    histories = []
    for number in range(use_case_count):
        pace = rng.uniform(0.5, 1.5)
        log_level = np.log(rng.uniform(50, 2000)) + np.cumsum(rng.normal(0, 0.05 * pace, day_count))
        log_level += rng.normal(0, 0.2 * pace, day_count) - 0.7 * (np.arange(day_count) % 7 >= 5)
        log_unit = np.log(0.1) + np.cumsum(rng.normal(0, 0.02 * pace, day_count))
        log_unit += rng.normal(0, 0.1 * pace, day_count)
        instances = rng.poisson(np.exp(log_level))
        successes = rng.binomial(instances, 0.6)
        days = tuple(
            UseCaseDay(
                started_date=date(2026, 7, 1) + timedelta(days=offset),
                instance_count=int(instances[offset]),
                success_count=int(successes[offset]),
                cost_usd=Decimal(f"{instances[offset] * np.exp(log_unit[offset]):.9f}"),
                value_usd=2 * Decimal(int(successes[offset])),
            )
            for offset in range(day_count)
        )
        histories.append(UseCaseHistory(f"use_case_{number}", days))
    return histories


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator with a fixed seed."""
    return np.random.default_rng(20260701)
