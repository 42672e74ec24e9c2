"""Pictures of cost distributions, ROI fans and capacity costs, as PNG bytes.

Belongs here: drawing what `statistics/` returned, with units on every axis. Does not belong here: computing
figures, writing files, Dagster. Figures are drawn without pyplot, so nothing is shared between runs or
threads.
"""

import io
import math
from collections.abc import Callable, Sequence
from datetime import date
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dagster_project.statistics.capacity import CapacityOutcome
from dagster_project.statistics.log_histogram import LOG_GAMMA, FloatArray, LogHistogram
from dagster_project.statistics.lognormal_mixture import LognormalMixture
from dagster_project.statistics.percentiles import Percentile
from dagster_project.statistics.roi import FanPoint, RoiFan, UseCaseHistory

FanMeasure = Literal["net", "cost", "roi"]

_LEFT_SHARE = 0.105
_WIDTH_INCHES, _HEIGHT_INCHES, _DPI = 9.6, 5.4, 120
_INK, _MUTED, _GRID = "#1f2933", "#616e7c", "#e4e7eb"
_BAR, _CURVE, _ACCENT = "#b3cde8", "#1d4f91", "#c2410c"
_MAX_BAR_COUNT = 70
_CURVE_POINT_COUNT = 800
_TRAILING_DAY_COUNT = 7
_LABEL_WIDTH_SHARE = 0.085
_SPREADING_PASS_COUNT = 50
_CAPTION_WIDTH = 112


def plot_cost_distribution(
    histogram: LogHistogram,
    mixture: LognormalMixture | None,
    percentiles: Sequence[Percentile],
    title: str,
    *,
    observation_name: str = "instances",
) -> bytes:
    """Draw a cost distribution on a logarithmic axis, with its fit and percentiles.

    Bars are sums of 1 % buckets, as wide as needed for at most 70 of them; the curve is the mixture's mass
    over the same width, so both read on one axis. Percentiles that are unavailable are named in the caption,
    not drawn.

    Args:
        histogram: What was observed; zeros are stated in the caption, since a log axis has no place for them.
        mixture: The fitted mixture, or None.
        percentiles: Percentiles to mark; modelled ones are labelled so.
        title: Headline, such as the use case and version.
        observation_name: What is counted, in the plural.

    Returns:
        A PNG of 1152 x 648 pixels.

    Raises:
        ValueError: The histogram has no positive observation.
    """
    if not histogram.buckets:
        raise ValueError("Drawing a cost distribution: the histogram has no positive observation, expected one.")
    figure, axes = _new_figure(title, top_share=0.79)
    log_width = _draw_bars(axes, histogram)
    if mixture is not None:
        _draw_mixture(axes, mixture, histogram, log_width)
    axes.set_xscale("log")
    _label_usd_axis(axes, histogram)
    axes.set_ylabel(f"Share of {observation_name} per bar")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    axes.set_ylim(0, axes.get_ylim()[1])
    _draw_percentiles(axes, percentiles)
    mean = histogram.mean_usd
    caption = [f"n = {histogram.count:,} {observation_name}", f"mean {_usd(float(mean or 0))}"]
    if histogram.zero_count:
        caption.append(f"{_percent(histogram.zero_share or 0)} cost exactly 0 (not drawn)")
    if mixture is not None:
        plural = "s" if mixture.component_count > 1 else ""
        caption.append(f"curve: {mixture.component_count} lognormal component{plural}, chosen by BIC")
    missing = [f"P{100 * each.quantile:g}" for each in percentiles if each.value_usd is None]
    if missing:
        caption.append(f"too few observations for {', '.join(missing)}")
    return _png(figure, caption)


def plot_roi_fan(
    fan: RoiFan,
    history: UseCaseHistory | None,
    *,
    title: str,
    measure: FanMeasure = "net",
) -> bytes:
    """Draw a fan: P10 to P90 shaded, the median as a line, what was realised before it.

    `net` and `cost` are cumulative dollars and go on from what history had accumulated. `roi` is the return
    on the spend since the forecast date; before it, the return realised over the trailing seven days.

    Args:
        fan: The forecast.
        history: The use case's history; None, or days with unknown amounts, leave it out.
        title: Headline, such as the use case.
        measure: What to draw.

    Returns:
        A PNG of 1152 x 648 pixels.

    Raises:
        ValueError: The measure needs a value and the fan has none.
    """
    if measure != "cost" and fan.npv is None:
        raise ValueError(
            f"Drawing the {measure} fan of {fan.use_case_id}: its value is unknown ({fan.value_reason}). "
            "Draw measure='cost' instead."
        )
    figure, axes = _new_figure(title, top_share=0.89)
    dates, realised = _realised(history, measure)
    start = float(realised[-1]) if dates and measure != "roi" else 0.0
    if dates:
        axes.plot(date2num(dates), realised, color=_INK, linewidth=1.8, label=_HISTORY_LABELS[measure])
    forecast_dates, bands = _bands(fan, measure)
    if measure != "roi":
        forecast_dates = [fan.origin_date, *forecast_dates]
        upfront = -1.0 if measure == "net" else 1.0
        bands = np.vstack([[upfront * float(fan.assumptions.upfront_cost_usd)] * 3, bands]) + start
    axes.fill_between(
        date2num(forecast_dates),
        bands[:, 0],
        bands[:, 2],
        color=_BAR,
        alpha=0.75,
        linewidth=0,
        label="Forecast P10 to P90",
    )
    axes.plot(date2num(forecast_dates), bands[:, 1], color=_CURVE, linewidth=2, label="Forecast median (P50)")
    if measure != "cost":
        axes.axhline(0, color=_ACCENT, linewidth=1.1, linestyle=(0, (5, 3)), label="Break-even")
    axes.axvline(date2num(fan.origin_date), color=_MUTED, linewidth=0.9, linestyle=":")
    locator = AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_xlabel("Date (UTC)")
    axes.set_ylabel(_FAN_AXIS_LABELS[measure])
    formatter: Callable[[float], str] = _percent if measure == "roi" else _usd
    axes.yaxis.set_major_formatter(FuncFormatter(lambda amount, _: formatter(amount)))
    axes.margins(x=0)
    last_day = float(date2num(forecast_dates[-1]))
    first_day = float(date2num(dates[0] if dates else forecast_dates[0]))
    # Room at the right edge for the three end labels.
    axes.set_xlim(first_day, last_day + 0.13 * (last_day - first_day))
    _draw_end_labels(axes, last_day, bands[-1], formatter)
    axes.legend(loc="best", frameon=False, fontsize=9.5, labelcolor=_INK)
    caption = [
        f"{fan.assumptions.path_count:,} paths over {fan.assumptions.horizon_day_count} days",
        f"drift from {fan.window_count:,} past forecast dates",
    ]
    if fan.npv_negative_probability_share is not None:
        caption.append(f"P(NPV < 0) = {_percent(fan.npv_negative_probability_share)}")
    return _png(figure, caption)


def plot_capacity_cost_curve(
    points: Sequence[CapacityOutcome],
    *,
    current_units: int,
    recommended_units: int,
    title: str,
    unit_name: str,
) -> bytes:
    """Draw the cost of bought capacity over the number of units, with what is bought and what is recommended.

    Args:
        points: Outcomes by ascending count, with costs per day.
        current_units: Units held, one of the counts.
        recommended_units: Units recommended, one of the counts.
        title: Headline, such as the deployment.
        unit_name: What a unit is.

    Returns:
        A PNG of 1152 x 648 pixels.

    Raises:
        ValueError: There is no point.
    """
    if not points:
        raise ValueError("Drawing a cost curve: there is no point, expected one or more.")
    figure, axes = _new_figure(title, top_share=0.86)
    counts = [point.unit_count for point in points]
    costs = {point.unit_count: float(point.cost_usd) for point in points}
    axes.fill_between(
        counts, [float(point.commitment_cost_usd) for point in points], color=_BAR, linewidth=0, label="Bought units"
    )
    axes.plot(counts, list(costs.values()), color=_CURVE, linewidth=2, label="With what spills over on demand")
    for units, name in ((current_units, "bought"), (recommended_units, "recommended")):
        axes.axvline(units, color=_ACCENT, linewidth=1.1, linestyle=(0, (4, 2)) if name == "bought" else "-")
    axes.set_xlabel(f"Units ({unit_name})")
    axes.set_ylabel("Expected cost per day (USD)")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda amount, _: _usd(amount)))
    axes.set_ylim(0)
    # Room at the left edge, where a recommendation of none stands.
    axes.set_xlim(counts[0] - 0.01 * max(counts[-1], 1), max(counts[-1], 1))
    axes.legend(loc="upper left", frameon=False, fontsize=9.5, labelcolor=_INK)
    caption = [
        f"dashed: {current_units:,} bought, {_usd(costs[current_units])} a day",
        f"line: {recommended_units:,} recommended, {_usd(costs[recommended_units])} a day",
        f"all on demand {_usd(costs[0])} a day" if 0 in costs else "",
    ]
    return _png(figure, [part for part in caption if part])


_HISTORY_LABELS: dict[FanMeasure, str] = {
    "net": "Realised",
    "cost": "Realised",
    "roi": f"Realised, trailing {_TRAILING_DAY_COUNT} days",
}
_FAN_AXIS_LABELS: dict[FanMeasure, str] = {
    "net": "Cumulative value minus cost (USD)",
    "cost": "Cumulative cost (USD)",
    "roi": "Return on spend, (value − cost) / cost",  # noqa: RUF001  a minus sign
}


def _new_figure(title: str, *, top_share: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((_LEFT_SHARE, 0.19, 0.97 - _LEFT_SHARE, top_share - 0.19))
    figure.text(_LEFT_SHARE, 0.945, title, fontsize=14, fontweight="bold", color=_INK, va="center")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_MUTED)
    axes.tick_params(colors=_MUTED, labelcolor=_INK, labelsize=10)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _png(figure: Figure, caption: Sequence[str]) -> bytes:
    lines = [""]
    for part in caption:
        joined = f"{lines[-1]}  ·  {part}" if lines[-1] else part
        lines[-1:] = [joined] if len(joined) <= _CAPTION_WIDTH else [lines[-1], part]
    text = "\n".join(lines)
    figure.text(_LEFT_SHARE, 0.075, text, fontsize=9, color=_MUTED, va="top", linespacing=1.5)
    buffer = io.BytesIO()
    # Without the software tag the bytes depend on the data alone.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_bars(axes: Axes, histogram: LogHistogram) -> float:
    """Draw merged buckets as bars and return a bar's width in ln USD."""
    buckets = np.asarray(histogram.buckets, dtype=np.int64)
    # More bars as observations allow, about the cube root of their number (Scott, Biometrika 1979).
    bar_count = min(_MAX_BAR_COUNT, math.ceil(4 * histogram.positive_count ** (1 / 3)))
    merged_count = math.ceil((buckets[-1] - buckets[0] + 1) / bar_count)
    bars = (buckets - buckets[0]) // merged_count
    shares = np.bincount(bars, np.asarray(histogram.counts, dtype=np.float64)) / histogram.count
    edges = np.exp((buckets[0] - 1 + merged_count * np.arange(len(shares) + 1)) * LOG_GAMMA)
    axes.bar(edges[:-1], shares, width=np.diff(edges), align="edge", color=_BAR, edgecolor="white", linewidth=0.4)
    return merged_count * LOG_GAMMA


def _draw_mixture(axes: Axes, mixture: LognormalMixture, histogram: LogHistogram, log_width: float) -> None:
    low, high = (histogram.buckets[0] - 1) * LOG_GAMMA, histogram.buckets[-1] * LOG_GAMMA
    middles = np.linspace(low - log_width / 2, high + log_width / 2, _CURVE_POINT_COUNT)
    # The mass over a bar's width, not the density: comparable with the bars where the fit is narrower than a
    # bar.
    mass = mixture.cdf(np.exp(middles + log_width / 2)) - mixture.cdf(np.exp(middles - log_width / 2))
    axes.plot(np.exp(middles), mass, color=_CURVE, linewidth=1.8)


def _draw_percentiles(axes: Axes, percentiles: Sequence[Percentile]) -> None:
    low, high = (math.log(limit) for limit in axes.get_xlim())
    drawn = [each for each in percentiles if each.value_usd is not None and each.value_usd > 0]
    values = [(float(each.value_usd or 0), each) for each in sorted(drawn, key=lambda each: each.quantile)]
    positions = [(math.log(value) - low) / (high - low) for value, _ in values]
    for (value, each), position, centre in zip(values, positions, _spread(positions), strict=True):
        suffix = "\n(modelled)" if each.provenance == "modelled" else ""
        axes.axvline(value, color=_ACCENT, linewidth=1.1, linestyle=(0, (4, 2)))
        axes.plot(
            [position, centre],
            [1, 1.035],
            transform=axes.transAxes,
            color=_ACCENT,
            linewidth=0.9,
            clip_on=False,
        )
        axes.text(
            centre,
            1.045,
            f"P{100 * each.quantile:g}\n{_usd(value)}{suffix}",
            transform=axes.transAxes,
            ha="center",
            va="bottom",
            fontsize=9,
            linespacing=1.25,
            color=_ACCENT,
        )


def _spread(positions: Sequence[float]) -> list[float]:
    """Return label centres near increasing positions, at least a label's width apart and within the axes."""
    centres = list(positions)
    for _ in range(_SPREADING_PASS_COUNT):
        for left in range(len(centres) - 1):
            overlap = _LABEL_WIDTH_SHARE - (centres[left + 1] - centres[left])
            if overlap > 0:
                centres[left] -= overlap / 2
                centres[left + 1] += overlap / 2
        centres = [min(max(centre, _LABEL_WIDTH_SHARE / 2), 1 - _LABEL_WIDTH_SHARE / 2) for centre in centres]
    return centres


def _label_usd_axis(axes: Axes, histogram: LogHistogram) -> None:
    low = math.exp((histogram.buckets[0] - 2) * LOG_GAMMA)
    high = math.exp((histogram.buckets[-1] + 1) * LOG_GAMMA)
    margin = (high / low) ** 0.03
    axes.set_xlim(low / margin, high * margin)
    # Few decades leave room to label 1, 2 and 5; many do not.
    steps = (1.0, 2.0, 5.0) if high / low < 1e3 else (1.0,)  # noqa: PLR2004
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=steps, numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda amount, _: _usd(amount)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("Cost (USD, logarithmic)")


def _realised(history: UseCaseHistory | None, measure: FanMeasure) -> tuple[list[date], FloatArray]:
    """Return the dates and amounts to draw before the forecast; empty when an amount is unknown."""
    nothing: tuple[list[date], FloatArray] = ([], np.empty(0))
    if history is None:
        return nothing
    costs = [day.cost_usd for day in history.days]
    values = [day.value_usd for day in history.days]
    if None in costs or (measure != "cost" and None in values):
        return nothing
    dates = [day.started_date for day in history.days]
    cost = np.asarray(costs, dtype=np.float64)
    if measure == "cost":
        return dates, cost.cumsum()
    value = np.asarray(values, dtype=np.float64)
    if measure == "net":
        return dates, (value - cost).cumsum()
    if len(dates) < _TRAILING_DAY_COUNT:
        return nothing
    window = np.ones(_TRAILING_DAY_COUNT)
    cost, value = np.convolve(cost, window, "valid"), np.convolve(value, window, "valid")
    roi = np.full(len(cost), np.nan)
    np.divide(value - cost, cost, out=roi, where=cost > 0)
    return dates[_TRAILING_DAY_COUNT - 1 :], roi


def _bands(fan: RoiFan, measure: FanMeasure) -> tuple[list[date], FloatArray]:
    """Return forecast dates and an array of days x (P10, P50, P90); days without a band are left out."""
    rows = [(point.forecast_date, row) for point in fan.points if (row := _band(point, measure)) is not None]
    return [day for day, _ in rows], np.asarray([row for _, row in rows], dtype=np.float64).reshape(-1, 3)


def _band(point: FanPoint, measure: FanMeasure) -> tuple[float, float, float] | None:
    if measure == "roi":
        return None if point.roi is None else (point.roi.p10_share, point.roi.p50_share, point.roi.p90_share)
    band = point.cost if measure == "cost" else point.net
    return None if band is None else (float(band.p10_usd), float(band.p50_usd), float(band.p90_usd))


def _draw_end_labels(axes: Axes, last_day: float, ends: FloatArray, formatter: Callable[[float], str]) -> None:
    low, high = axes.get_ylim()
    gap = (high - low) * 0.045
    middle = float(ends[1])
    positions = (min(float(ends[0]), middle - gap), middle, max(float(ends[2]), middle + gap))
    for name, position, amount in zip(("P10", "P50", "P90"), positions, ends, strict=True):
        axes.annotate(
            f"{name} {formatter(float(amount))}",
            (last_day, position),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
            color=_CURVE,
            fontweight="bold" if name == "P50" else "normal",
        )


def _usd(amount: float) -> str:
    """Return a short amount: 3 significant digits, thousands as k, millions as M, never an exponent."""
    sign, size = ("−" if amount < 0 else ""), abs(amount)  # noqa: RUF001  a minus sign
    for unit, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size >= unit * 0.9995:
            return f"{sign}${_three_digits(size / unit)}{suffix}"
    return f"{sign}${_three_digits(size)}"


def _three_digits(size: float) -> str:
    if size == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(size)))
    text = f"{size:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _percent(share: float) -> str:
    sign = "−" if share < 0 else ""  # noqa: RUF001  a minus sign
    return f"{sign}{_three_digits(100 * abs(share))} %"
