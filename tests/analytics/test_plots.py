"""Pictures: valid PNGs that depend on the data alone, and labels that do not touch."""

import struct
from decimal import Decimal

import numpy as np
import pytest

from dagster_project.analytics.plots import (
    _LABEL_WIDTH_SHARE,
    FanMeasure,
    _spread,
    _usd,
    plot_cost_distribution,
    plot_roi_fan,
)
from dagster_project.statistics.log_histogram import LogHistogram
from dagster_project.statistics.lognormal_mixture import fit_lognormal_mixture
from dagster_project.statistics.percentiles import publish_percentiles
from dagster_project.statistics.roi import RoiAssumptions, RoiFan, UseCaseHistory, ValueRange, roi_fan
from tests.statistics.conftest import histogram_of_floats, wandering_histories


def png_size(picture: bytes) -> tuple[int, int]:
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


def forecast(*, is_valued: bool = True) -> tuple[RoiFan, UseCaseHistory]:
    histories = wandering_histories(np.random.default_rng(1), use_case_count=3, day_count=40)
    value = ValueRange(Decimal("0.1"), Decimal("0.2"), Decimal("0.4")) if is_valued else None
    fan = roi_fan(
        histories, "use_case_0", RoiAssumptions(horizon_day_count=20, path_count=200, value_per_success=value)
    )
    assert fan.fan is not None
    return fan.fan, histories[0]


def test_cost_distribution_is_a_png_that_depends_on_the_data_alone():
    values = np.exp(np.random.default_rng(1).normal(-4, 1, 600))
    histogram = histogram_of_floats(np.r_[values, np.zeros(20)])
    arguments = (
        histogram,
        fit_lognormal_mixture(histogram),
        publish_percentiles(histogram),
        "Support agent v2",
    )
    picture = plot_cost_distribution(*arguments)
    assert png_size(picture) == (1152, 648)
    assert picture == plot_cost_distribution(*arguments)
    assert picture != plot_cost_distribution(histogram, None, (), "Support agent v2")


@pytest.mark.parametrize("values", [["1"], ["0.000001", "900000"], ["0", "0.5", "0.5"]])
def test_cost_distribution_of_few_or_far_values_is_drawn(values: list[str]):
    histogram = LogHistogram.from_values([Decimal(value) for value in values])
    picture = plot_cost_distribution(histogram, fit_lognormal_mixture(histogram), publish_percentiles(histogram), "Few")
    assert png_size(picture) == (1152, 648)


def test_cost_distribution_of_zeros_is_refused():
    with pytest.raises(ValueError, match="no positive observation"):
        plot_cost_distribution(LogHistogram.from_values([Decimal(0)]), None, (), "Nothing")


@pytest.mark.parametrize("measure", ["net", "cost", "roi"])
def test_fan_is_drawn_with_and_without_history(measure: FanMeasure):
    fan, history = forecast()
    with_history = plot_roi_fan(fan, history, title="Support agent", measure=measure)
    without_history = plot_roi_fan(fan, None, title="Support agent", measure=measure)
    assert png_size(with_history) == png_size(without_history) == (1152, 648)
    assert with_history != without_history


@pytest.mark.parametrize("measure", ["net", "roi"])
def test_fan_of_unknown_value_is_refused_but_for_cost(measure: FanMeasure):
    histories = [
        UseCaseHistory(
            each.use_case_id,
            tuple(type(day)(day.started_date, day.instance_count, None, day.cost_usd, None) for day in each.days),
        )
        for each in wandering_histories(np.random.default_rng(1), use_case_count=3, day_count=40)
    ]
    fan = roi_fan(histories, "use_case_0", RoiAssumptions(horizon_day_count=5, path_count=100)).fan
    assert fan is not None
    with pytest.raises(ValueError, match="no value equation gave a value"):
        plot_roi_fan(fan, histories[0], title="Unknown", measure=measure)
    assert png_size(plot_roi_fan(fan, histories[0], title="Cost", measure="cost")) == (1152, 648)


def test_labels_are_spread_without_touching_and_within_the_axes():
    centres = _spread([0.97, 0.98, 0.985, 0.99])
    assert centres == sorted(centres)
    assert min(np.diff(centres)) >= _LABEL_WIDTH_SHARE * 0.95
    assert max(centres) <= 1 - _LABEL_WIDTH_SHARE / 2
    assert _spread([0.2, 0.5]) == [0.2, 0.5]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0"),
        (0.0058125, "$0.00581"),
        (0.00002, "$0.00002"),
        (12.345, "$12.3"),
        (999, "$999"),
        (1500, "$1.5k"),
        (-25_400, "−$25.4k"),  # noqa: RUF001  a minus sign
        (2_394_000, "$2.39M"),
    ],
)
def test_amounts_are_short_and_without_exponents(amount: float, text: str):
    assert _usd(amount) == text
