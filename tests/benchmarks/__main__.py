"""Measure and report: `python -m tests.benchmarks [--calls N] [--only a,b,c,d,e,f,g]`.

(a) landed calls to priced ledger, as a ratio to the shortest SQL that writes the same costs; (b) a whole run;
(c) a day with ten times the history, as a ratio to the same day without; (d) a run with nothing to do, and with an
empty day; (e) calls priced per second, against the calculators of litellm and genai-prices; (f) how fast traces land
from files and from exporters; (g) capacity and allocation of many commitments, as a ratio to the pricing of the same
calls. Each figure stands beside its aim; nothing passes or fails.
"""

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks import calculators, pipeline, pricing, telemetry
from tests.benchmarks.company import MODEL_COUNT
from tests.benchmarks.measure import Measurement, measure

DAYS = 90
MANY_MODELS, MANY_RATES = 5_000, 20_000
MANY_COMMITMENTS = 200
CARD_MODELS = (
    "int_pricing__rates",
    "int_pricing__model_matches",
    "int_pricing__segment_prices",
    "int_pricing__rate_cards",
)
CALLS_PER_DAY = 50_000
SHORT_HISTORY_DAYS = 10
LONG_HISTORY_DAYS = 100
REPEATS = 3
SMALL_CALLS_PER_DAY = 1_000
CALCULATOR_AIMS = {"litellm": 250, "genai_prices": 120}

TRACES_MIB = (100, 400)
EXPORT_COUNT = 400
SENDER_COUNT = 4

_GIB = 1 << 30
_MB = 1_000_000
_CONSOLE = Console(highlight=False, width=120)


def main(arguments: Sequence[str]) -> None:
    """Run the chosen benchmarks one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--calls", type=int, default=10_000_000, help="calls of (a), (b), (e) and (g); default 10 million"
    )
    parser.add_argument("--calls-per-day", type=int, default=CALLS_PER_DAY, help="calls of a day of (c)")
    parser.add_argument("--only", default="a,b,c,d,e,f,g", help="which to run, comma-separated; default all")
    parser.add_argument("--work-dir", type=Path, help="where to write; default a temporary folder that is deleted")
    options = parser.parse_args(arguments)
    benchmarks: dict[str, Callable[[Path], None]] = {
        "a": lambda folder: report_pricing(folder, options.calls),
        "b": lambda folder: report_whole_run(folder, options.calls),
        "c": lambda folder: report_history(folder, options.calls_per_day),
        "d": report_overhead,
        "e": lambda folder: report_calculators(folder, options.calls),
        "f": report_telemetry,
        "g": lambda folder: report_capacity(folder, options.calls),
    }
    chosen = options.only.split(",")
    unknown = sorted(set(chosen) - set(benchmarks))
    if unknown:
        parser.error(f"unknown benchmarks {', '.join(unknown)}; known: {', '.join(benchmarks)}")
    _say(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix=f"benchmark_{name}_", dir=options.work_dir) as folder:
            benchmarks[name](Path(folder))


def report_pricing(folder: Path, calls: int) -> None:
    """Report (a)."""
    _title(f"(a) Pricing {calls:,} landed calls of {DAYS} days, {MODEL_COUNT} models")
    where = {"folder": str(folder)}
    generated = measure(pricing.generate_landed, **where, calls=calls, days=DAYS)
    _say(f"landing files: {generated.found['bytes'] / _GIB:.2f} GiB, made in {generated.work_s:.1f} s")
    by_hand = measure(pricing.price_by_hand, **where)
    by_dbt = measure(pricing.price_by_dbt, **where)
    again = measure(pricing.price_by_hand, **where)
    copy = measure(pricing.write_again, **where).found
    yardstick_s = statistics.mean((by_hand.found["seconds"], again.found["seconds"]))
    seconds = by_dbt.found["seconds"]
    _say(f"yardstick     {yardstick_s:6.1f} s, {_gib(by_hand)}, file {by_hand.found['bytes'] / _GIB:.2f} GiB")
    _say(f"ledger by dbt {seconds:6.1f} s, {_gib(by_dbt)}, file {by_dbt.found['bytes'] / _GIB:.2f} GiB")
    _say(f"ratio         {seconds / yardstick_s:6.2f}    (aim: at most 2)")
    _say(f"writing the ledger's {copy['column_count']} columns once more, already priced: {copy['seconds']:.1f} s")
    _say(f"same calls and costs, to the last digit: {'yes' if _is_same(by_hand, by_dbt) else 'NO'}")
    _largest("seconds per folder", by_dbt.found["folder_s"])
    _largest("seconds per model", by_dbt.found["node_s"])


def report_whole_run(folder: Path, calls: int) -> None:
    """Report (b)."""
    _title(f"(b) A whole run of {calls:,} calls, {DAYS} days")
    where = {"folder": str(folder)}
    made = measure(pipeline.found_company, **where, days=DAYS, calls_per_day=calls // DAYS)
    _say(f"feed files: {made.found['bytes'] / _GIB:.2f} GiB, made in {made.work_s:.1f} s")
    run = measure(pipeline.run_job, **where)
    seconds = run.found["seconds"]
    pulled = sum(_stage_seconds(run)[stage] for stage in pipeline.PULL_STAGES)
    _say(f"without the pull {seconds - pulled:6.1f} s    (aim: at most 60)")
    _say(f"with the pull    {seconds:6.1f} s")
    _say(f"peak memory      {_gib(run)}    (aim: at most 4)")
    _say(f"warehouse file   {run.found['warehouse_bytes'] / _GIB:.2f} GiB")
    _steps(run)


def report_history(folder: Path, calls_per_day: int) -> None:
    """Report (c)."""
    _title(
        f"(c) A day of {calls_per_day:,} calls after {SHORT_HISTORY_DAYS} and {LONG_HISTORY_DAYS} days, "
        f"median of {REPEATS}"
    )
    medians, without_analytics = {}, {}
    for days in (SHORT_HISTORY_DAYS, LONG_HISTORY_DAYS):
        where = {"folder": str(folder / str(days))}
        measure(pipeline.found_company, **where, days=days, calls_per_day=calls_per_day)
        measure(pipeline.run_job, **where)
        runs = []
        for day in range(REPEATS):
            measure(pipeline.add_days, **where, built_days=days + day, days=1, calls_per_day=calls_per_day)
            runs.append(measure(pipeline.run_job, **where))
        runs.sort(key=lambda run: run.found["seconds"])
        middle = runs[REPEATS // 2]
        medians[days] = middle.found["seconds"]
        without_analytics[days] = middle.found["seconds"] - _stage_seconds(middle)["analytics"]
        taken = ", ".join(f"{run.found['seconds']:.1f}" for run in runs)
        _say(f"after {days:>3} days {medians[days]:6.1f} s ({taken}), {_gib(middle)}, built {middle.found['ranges']}")
        _steps(middle)
        shutil.rmtree(folder / str(days))
    for label, seconds in (("ratio", medians), ("ratio without analytics", without_analytics)):
        _say(f"{label:<24} {seconds[LONG_HISTORY_DAYS] / seconds[SHORT_HISTORY_DAYS]:6.2f}    (aim: at most 1.1)")


def report_overhead(folder: Path) -> None:
    """Report (d)."""
    days = SHORT_HISTORY_DAYS
    _title(f"(d) Runs with nothing to do, on {days} days of {SMALL_CALLS_PER_DAY:,} calls, median of {REPEATS}")
    where = {"folder": str(folder)}
    measure(pipeline.found_company, **where, days=days, calls_per_day=SMALL_CALLS_PER_DAY)
    first = measure(pipeline.run_job, **where)
    _say(f"first run, dbt project parsed      {first.process_s:6.1f} s")
    unchanged = sorted(measure(pipeline.run_command_line, **where).found["seconds"] for _ in range(REPEATS))
    _say(f"`tokenledger run`, nothing changed {unchanged[REPEATS // 2]:6.1f} s    (aim: at most 12)")
    empty = []
    for day in range(REPEATS):
        measure(pipeline.add_days, **where, built_days=days + day, days=1, calls_per_day=0)
        empty.append(measure(pipeline.run_job, **where))
    empty.sort(key=lambda run: run.process_s)
    middle = empty[REPEATS // 2]
    _say(f"one empty day built, whole process {middle.process_s:6.1f} s    (aim: at most 12), {_gib(middle)}")
    _say(f"built {middle.found['ranges']}, imports before the job {middle.found['import_s']:.1f} s")
    _steps(middle)


def report_calculators(folder: Path, calls: int) -> None:
    """Report (e)."""
    _title(
        f"(e) Calls priced per second: {calls:,} landed calls, {MANY_MODELS:,} models with {MANY_RATES:,} dated rates"
    )
    where = {"folder": str(folder)}
    rate_periods = MANY_RATES // MANY_MODELS
    measure(pricing.generate_landed, **where, calls=calls, days=DAYS, models=MANY_MODELS, rate_periods=rate_periods)
    by_dbt = measure(pricing.price_by_dbt, **where)
    alone = measure(pricing.price_only, **where)
    seconds = alone.found["seconds"]
    _say(f"pricing alone {seconds:6.1f} s, {_gib(alone)}")
    for name, calls_name in {"by_hand": "landed files", "normalised_by_hand": "normalised calls"}.items():
        by_hand_s = alone.found[f"{name}_seconds"]
        _say(
            f"hand-written SQL over {calls_name}: {by_hand_s:.1f} s, ratio {seconds / by_hand_s:.2f} (aim: at most 1.5)"
        )
    _say(f"rate cards    {sum(by_dbt.found['node_s'][name] for name in CARD_MODELS):6.1f} s")
    names = ("totals", "by_hand_totals", "normalised_by_hand_totals")
    is_same = all(alone.found[name] == by_dbt.found["totals"] for name in names)
    _say(f"same calls and costs, to the last digit: {'yes' if is_same else 'NO'}")
    ledger = {"whole ledger": calls / by_dbt.found["seconds"], "pricing alone": calls / seconds}
    for name, per_second in ledger.items():
        _say(f"{name:<14} {per_second:14,.0f} calls per second")
    for library, aim in CALCULATOR_AIMS.items():
        speed = measure(calculators.time_library, **where, library=library).found
        per_second = speed["call_count"] / speed["seconds"]
        ratios = ", ".join(f"{name} {ours / per_second:,.0f}x" for name, ours in ledger.items())
        _say(f"{library:<14} {per_second:14,.0f} calls per second; {ratios}    (aim: at least {aim}x)")


def report_telemetry(folder: Path) -> None:
    """Report (f)."""
    _title("(f) Traces landed from OTLP/JSON files, and received from exporters over HTTP")
    where = {"folder": str(folder)}
    for mebibytes in TRACES_MIB:
        written = measure(telemetry.write_traces, **where, mebibytes=mebibytes).found
        for name in ("traces.jsonl", "traces.jsonl.zst"):
            landed = measure(telemetry.land_traces, **where, name=name)
            speed = written["bytes"] / _MB / landed.found["cpu_seconds"]
            is_whole = landed.found["span_count"] == written["span_count"]
            _say(
                f"{mebibytes:4} MiB {name:<17} {speed:6.1f} MB of JSON per second of one core    (aim: at least 50), "
                f"{_gib(landed)}; every span landed: {'yes' if is_whole else 'NO'}"
            )
            shutil.rmtree(folder / f"state_{name}")
    received = measure(telemetry.receive_traces, **where, export_count=EXPORT_COUNT, sender_count=SENDER_COUNT).found
    _say(
        f"received over HTTP, durable when answered: {received['span_count'] / received['seconds']:,.0f} spans and "
        f"{received['bytes'] / _MB / received['seconds']:.1f} MB of protobuf per second, "
        f"{received['receiving_peak_bytes'] / _GIB:.2f} GiB with its {SENDER_COUNT} senders"
    )


def report_capacity(folder: Path, calls: int) -> None:
    """Report (g)."""
    _title(f"(g) Capacity and allocation of {calls:,} calls, {MANY_COMMITMENTS} commitments, half of the calls on them")
    where = {"folder": str(folder)}
    measure(pricing.generate_landed, **where, calls=calls, days=DAYS, commitments=MANY_COMMITMENTS)
    built = measure(pricing.allocate_by_dbt, **where)
    folder_s: dict[str, float] = built.found["folder_s"]
    pricing_s = sum(folder_s[name] for name in pricing.FOLDERS if name not in pricing.CAPACITY_FOLDERS)
    _say(f"pricing       {pricing_s:6.1f} s; all {built.found['seconds']:.1f} s, {_gib(built)}")
    for title, names in {"capacity": pricing.CAPACITY_FOLDERS, "allocation": pricing.ALLOCATION_FOLDERS}.items():
        seconds = sum(folder_s[name] for name in names)
        _say(f"{title:<13} {seconds:6.1f} s, ratio {seconds / pricing_s:.2f} (aim: at most 1 for both together)")
    _largest("seconds per folder", folder_s)
    _largest("seconds per model", built.found["node_s"])


def _stage_seconds(run: Measurement) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    for stage, _, taken, _ in run.found["steps"]:
        seconds[stage] += taken
    return seconds


def _steps(run: Measurement) -> None:
    """Print where the time of a run went, per stage and step, and which steps raised its peak memory."""
    stages = _stage_seconds(run)
    stages["between the steps"] = run.found["seconds"] - sum(stages.values())
    steps: dict[str, float] = defaultdict(float)
    rises: dict[str, float] = defaultdict(float)
    before = 0
    for stage, name, seconds, peak in run.found["steps"]:
        steps[f"{stage}: {name}"] += seconds
        rises[f"{stage}: {name}"] += (peak - before) / _GIB
        before = peak
    _largest("seconds per stage", stages)
    _largest("longest steps", steps)
    _largest("peak memory raised by, GiB", rises, count=6)


def _largest(title: str, seconds: Mapping[str, float], count: int = 12) -> None:
    ranked = sorted(seconds.items(), key=lambda item: item[1], reverse=True)[:count]
    _say(f"  {title}: " + ", ".join(f"{name} {taken:.1f}" for name, taken in ranked if taken >= 0.05))


def _is_same(one: Measurement, other: Measurement) -> bool:
    return bool(one.found["totals"] == other.found["totals"])


def _gib(run: Measurement) -> str:
    return f"{run.peak_bytes / _GIB:.2f} GiB"


def _title(text: str) -> None:
    _CONSOLE.rule(text, align="left", style="none")


def _say(text: Any) -> None:  # noqa: ANN401 - whatever prints
    _CONSOLE.print(text, markup=False, soft_wrap=True)
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
