"""The border between estimates and money."""

from decimal import Decimal

import pytest

from dagster_project.statistics._money import usd_from_estimate


def test_estimate_is_rounded_to_a_trillionth():
    assert usd_from_estimate(0.1 + 0.2) == Decimal("0.300000000000")


def test_estimate_beyond_a_trillion_keeps_its_digits():
    assert usd_from_estimate(1e20) == Decimal("1e20")


def test_estimate_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="expected a finite number"):
        usd_from_estimate(float("nan"))
