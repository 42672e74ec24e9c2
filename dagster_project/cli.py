"""The command line: run everything, try the sources, make the demo's feeds, show what is published.

Parsing arguments and printing belong here. Progress and the closing screen go to the terminal; with `--json`, stdout
holds one JSON object and nothing else.
"""

import contextlib
import csv
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson
from rich.console import Console
from rich.table import Table

from dagster_project.errors import TokenledgerError
from dagster_project.progress import Progress, Step
from dagster_project.settings import Settings, load_settings
from dagster_project.sources._kpis import PROVENANCES
from dagster_project.sources.manual_scores import Entry, Journal, ManualScoresOptions, replacing, scale_problem
from dagster_project.sources.manual_scores import connector as manual_scores

_PAGE_WIDTH = 140

_STATE = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of everything that is written. Default: TOKENLEDGER_STATE_DIR, then ./.tokenledger.",
)
_CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Source configuration (YAML). Default: TOKENLEDGER_CONFIG, then the demo company's.",
)


@click.group()
def main() -> None:
    """What generative AI costs per call, use case and outcome, what it is worth, and how bought capacity is used."""


@main.command()
@_STATE
@_CONFIG
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
def run(state_dir: Path | None, config: Path | None, *, is_json: bool) -> None:
    """Pull every source, build the days that changed, judge every gate, publish."""
    started = time.perf_counter()
    with _clear_errors():
        settings = load_settings(config_path=config, state_dir=state_dir)
        console = _console(is_stderr=is_json)
        with _stdout_to_stderr() if is_json else contextlib.nullcontext():
            outcome, summary = _run(settings, console)
        seconds = time.perf_counter() - started
        from dagster_project import summary as summaries  # noqa: PLC0415 - imports Dagster, which --help need not wait for

        if is_json:
            content = summaries.as_json(settings, outcome, summary, seconds)
            sys.stdout.buffer.write(orjson.dumps(content, default=summaries.json_default, option=orjson.OPT_INDENT_2))
            sys.stdout.write("\n")
        else:
            _print_screen(console, settings, outcome, summary, seconds)
    _leave(0 if outcome.is_success else 1)


@main.command()
@_STATE
@_CONFIG
def demo(state_dir: Path | None, config: Path | None) -> None:
    """Make the demo company's feeds only, and say what was planted in them."""
    with _clear_errors():
        from dagster_project.demo.novaspark import generate  # noqa: PLC0415 - numpy and polars

        settings = load_settings(config_path=config, state_dir=state_dir)
        if settings.demo is None:
            raise click.UsageError(f"{settings.config_path} has no `demo:` section; nothing to make.")
        options = settings.demo
        generate(
            settings.feeds_dir,
            seed=options.seed,
            calls=options.calls,
            days=options.days,
            start_date=settings.start_date,
        )
        click.echo(f"Feeds: {settings.feeds_dir}")
        click.echo(f"Planted truths: {settings.feeds_dir / 'truths.json'}")


@main.command()
@_STATE
@_CONFIG
@click.argument("sql")
def query(state_dir: Path | None, config: Path | None, sql: str) -> None:
    """Run SQL on the published warehouse and print the result."""
    with _clear_errors():
        import duckdb  # noqa: PLC0415 - --help need not wait for it

        settings = load_settings(config_path=config, state_dir=state_dir)
        _require_published(settings)
        with duckdb.connect(str(settings.serving_path), read_only=True) as con:
            con.execute("set TimeZone = 'UTC'")
            click.echo(str(con.sql(sql)))


@main.command()
@_STATE
@_CONFIG
@click.option("--source", "source_name", help="Source of the call, when several have calls of this id.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
@click.argument("call_id")
def explain(
    state_dir: Path | None, config: Path | None, source_name: str | None, call_id: str, *, is_json: bool
) -> None:
    """Show how a published call was priced: each charge, its unit price and what that rests on."""
    with _clear_errors():
        import duckdb  # noqa: PLC0415 - --help need not wait for it

        from dagster_project import explain as explaining  # noqa: PLC0415 - imports duckdb

        settings = load_settings(config_path=config, state_dir=state_dir)
        _require_published(settings)
        with duckdb.connect(str(settings.serving_path), read_only=True) as con:
            con.execute("set TimeZone = 'UTC'")
            found = explaining.find_calls(con, call_id, source_name)
            if not found:
                raise click.UsageError(explaining.describe_absence(con, settings.serving_path, call_id, source_name))
        if is_json:
            content = {"calls": [item.as_json() for item in found]}
            click.echo(orjson.dumps(content, option=orjson.OPT_INDENT_2))
            return
        sources = ", ".join(dict.fromkeys(item.call["source_name"] for item in found))
        if len(found) > 1:
            click.echo(f"{len(found)} calls have this id, of {sources}; --source chooses.\n")
        click.echo("\n\n".join("\n".join(item.lines()) for item in found))


@main.command()
@_STATE
@_CONFIG
@click.argument("source_name", required=False)
def receive(state_dir: Path | None, config: Path | None, source_name: str | None) -> None:
    """Serve an OTLP/HTTP endpoint for a source with `receiver`, until told to stop; `run` may go on meanwhile."""
    with _clear_errors():
        from dagster_project.receiver import server  # noqa: PLC0415 - --help need not wait for it
        from dagster_project.sources.otlp_files import OtlpFilesOptions  # noqa: PLC0415 - as above

        settings = load_settings(config_path=config, state_dir=state_dir)
        found = [
            item
            for item in settings.sources
            if isinstance(item, OtlpFilesOptions) and item.receiver and source_name in (None, item.name)
        ]
        if len(found) != 1:
            names = ", ".join(item.name for item in found) or "none"
            raise click.UsageError(f"Expected one source with `receiver` to serve, found {names}; name one.")
        [source] = found
        receiver = source.receiver
        assert receiver is not None  # noqa: S101 - chosen for having one
        server.receive(
            source.spool_dir,
            receiver,
            hash_key=settings.hash_key.get_secret_value().encode() if settings.hash_key else None,
            keep_user_ids=source.keep_user_ids,
            on_ready=lambda port: click.echo(
                f"Receiving traces of {source.name} on {receiver.url(port)} into {source.spool_dir}"
            ),
        )


@main.group()
def sources() -> None:
    """The configured sources."""


@sources.command()
@_STATE
@_CONFIG
@click.argument("names", nargs=-1)
def check(state_dir: Path | None, config: Path | None, names: tuple[str, ...]) -> None:
    """Try each source: its credentials, its reach, one page. Without NAMES all of them. Nothing is landed."""
    with _clear_errors():
        from dagster_project.source_checks import check_sources  # noqa: PLC0415 - --help need not wait for it

        settings = load_settings(config_path=config, state_dir=state_dir)
        known = {options.name: options for options in settings.sources}
        if unknown := [name for name in names if name not in known]:
            raise click.UsageError(f"No source {', '.join(unknown)} is configured; known: {', '.join(known)}.")
        console = _console(is_stderr=False)
        is_good = True
        for found in check_sources(settings, [known[name] for name in names] or settings.sources):
            is_good = is_good and found.is_good
            _print_line(console, f"  {'ok' if found.is_good else 'FAILED':<7} {found.name:<28} {found.text}")
    _leave(0 if is_good else 1)


@main.group()
def score() -> None:
    """Enter KPI scores by hand, into the journal of a `manual_scores` source; what is entered stays in it."""


_BY = click.option("--by", "entered_by", required=True, help="Who enters it.")
_REASON = click.option("--reason", required=True, help="Why.")
_EVIDENCE = click.option("--evidence", help="What it rests on: a ticket, a document, an address.")
_JOURNAL = click.option("--source", "source_name", help="The `manual_scores` source, when there are several.")


@score.command("add")
@_STATE
@_CONFIG
@_JOURNAL
@click.option("--use-case", "use_case_id", required=True, help="The use case.")
@click.option("--kpi", "kpi_name", required=True, help="The KPI, as seed_kpis.csv names it.")
@click.option("--instance", "use_case_instance_id", help="The run that is scored; without it the score is a day's.")
@click.option("--version", "use_case_version", help="Version of the use case.")
@click.option("--at", "scored_at", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="When, UTC; now.")
@click.option("--provenance", type=click.Choice(PROVENANCES), default="attested", show_default=True)
@_BY
@_REASON
@_EVIDENCE
@click.argument("value", type=float)
def score_add(
    state_dir: Path | None, config: Path | None, source_name: str | None, scored_at: datetime | None, value: float,
    **entered: Any,  # noqa: ANN401 - options of click
) -> None:  # fmt: skip
    """Enter the score VALUE; true is 1, false is 0."""
    with _clear_errors():
        settings, journal = _journal(state_dir, config, source_name)
        now = datetime.now(UTC)
        at = scored_at.replace(tzinfo=UTC) if scored_at else now
        if at > now:
            raise click.UsageError(f"--at {at.isoformat()} is in the future; a score is of what has been.")
        _refuse_off_scale(settings, entered["use_case_id"], entered["kpi_name"], value)
        entry_id = journal.add(Entry(score=value, scored_at=at, **entered), now=now)
        click.echo(f"Entered {entry_id}; the next pull lands it.")


@score.command("correct")
@_STATE
@_CONFIG
@_JOURNAL
@_BY
@_REASON
@_EVIDENCE
@click.argument("entry_id")
@click.argument("value", type=float)
def score_correct(
    state_dir: Path | None, config: Path | None, source_name: str | None, entry_id: str, value: float,
    **entered: Any,  # noqa: ANN401 - options of click
) -> None:  # fmt: skip
    """Enter VALUE in the place of the score of an entry; both entries stay."""
    with _clear_errors():
        settings, journal = _journal(state_dir, config, source_name)
        former = journal.find(entry_id)
        _refuse_off_scale(settings, former["use_case_id"], former["kpi_name"], value)
        made = journal.add(replacing(former, score=value, **entered), now=datetime.now(UTC))
        click.echo(f"Entered {made} in the place of {former['entry_id']}; the next pull lands it.")


@score.command("withdraw")
@_STATE
@_CONFIG
@_JOURNAL
@_BY
@_REASON
@_EVIDENCE
@click.argument("entry_id")
def score_withdraw(
    state_dir: Path | None, config: Path | None, source_name: str | None, entry_id: str,
    **entered: Any,  # noqa: ANN401 - options of click
) -> None:  # fmt: skip
    """Withdraw the score of an entry: it counts no more, and both entries stay."""
    with _clear_errors():
        _, journal = _journal(state_dir, config, source_name)
        former = journal.find(entry_id)
        made = journal.add(replacing(former, score=None, **entered), now=datetime.now(UTC))
        click.echo(f"Entered {made}, which withdraws {former['entry_id']}; the next pull lands it.")


@score.command("log")
@_STATE
@_CONFIG
@_JOURNAL
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
def score_log(state_dir: Path | None, config: Path | None, source_name: str | None, *, is_json: bool) -> None:
    """Show the journal, oldest entry first, once its chain has been checked."""
    with _clear_errors():
        _, journal = _journal(state_dir, config, source_name)
        entries = list(journal.entries())
        if is_json:
            click.echo(orjson.dumps({"entries": entries}, option=orjson.OPT_INDENT_2))
            return
        for entry in entries:
            what = "withdrawn" if entry["score"] is None else f"{entry['score']:g}"
            of = entry["use_case_instance_id"] or entry["scored_at"][:10]
            replaced = f", replaces {entry['replaces_entry_id']}" if entry["replaces_entry_id"] else ""
            click.echo(
                f"{entry['entry_id']} {entry['entered_at'][:19]} {entry['entered_by']}: {entry['use_case_id']} {of} "
                f"{entry['kpi_name']} = {what} ({entry['provenance']}{replaced}): {entry['reason']}"
            )


def _journal(state_dir: Path | None, config: Path | None, source_name: str | None) -> tuple[Settings, Journal]:
    """Give the configuration and the journal that a command means."""
    settings = load_settings(config_path=config, state_dir=state_dir)
    found = [
        item for item in settings.sources if isinstance(item, ManualScoresOptions) and source_name in (None, item.name)
    ]
    if len(found) != 1:
        names = ", ".join(item.name for item in found) or "none"
        raise click.UsageError(
            f"{settings.config_path} has these sources of kind manual_scores that fit: {names}; expected one. "
            "Add `{name: manual_scores, kind: manual_scores, path: scores}` to `sources`, or choose by --source."
        )
    from dagster_project.warehouse.landing import LandingZone  # noqa: PLC0415 - --help need not wait for it

    [options] = found
    landed = LandingZone(settings.landing_dir).landed_inputs(manual_scores, options)
    return settings, Journal(options.folder, landed)


def _refuse_off_scale(settings: Settings, use_case_id: str, kpi_name: str, value: float) -> None:
    with (settings.reference_dir / "seed_kpis.csv").open(encoding="utf-8-sig", newline="") as file:
        problem = scale_problem(kpi_name, use_case_id, value, list(csv.DictReader(file)))
    if problem:
        raise click.UsageError(f"{problem}. Nothing was entered.")


def _require_published(settings: Settings) -> None:
    if not settings.serving_path.exists():
        raise click.UsageError(f"Nothing is published at {settings.serving_path}; `tokenledger run` publishes.")


def _run(settings: Settings, console: Console) -> Any:  # noqa: ANN401 - types that only Dagster's import would bring
    warnings.filterwarnings("ignore", category=UserWarning, module="dagster")
    # dbt's semaphores are still open when the process ends; their watcher, a process of its own, would say so.
    sys.warnoptions.append("ignore::UserWarning:multiprocessing.resource_tracker")
    _print_line(console, f"tokenledger: {settings.organization}, state in {settings.state_dir}")
    from dagster_project import runner, summary  # noqa: PLC0415 - seconds of imports, after the first line is out

    progress = Progress(on_end=lambda step: _print_end(console, step))
    outcome = runner.run_main_job(settings, progress)
    return outcome, summary.summarize(settings)


def _console(*, is_stderr: bool) -> Console:
    """Give the terminal, or a wide page where there is none: a log is not folded at 80 columns."""
    console = Console(stderr=is_stderr)
    return console if console.is_terminal else Console(stderr=is_stderr, width=_PAGE_WIDTH)


def _print_line(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _print_end(console: Console, step: Step) -> None:
    rows = f"{step.rows:>11,} rows" if step.rows is not None else " " * 16
    rejected = f", {step.rejected} rejected" if step.rejected else ""
    _print_line(console, f"  {step.stage:<12} {step.name:<52} {rows} {step.seconds:>6.1f} s{rejected}")


def _print_screen(console: Console, settings: Settings, outcome: Any, summary: Any, seconds: float) -> None:  # noqa: ANN401
    if summary is not None:
        console.print(_spend_table(summary))
        console.print(_use_case_table(summary))
        if summary.capacity:
            console.print(_capacity_table(summary))
        rejected = ", ".join(f"{row['row_count']} {row['reason']}" for row in summary.rejected) or "none"
        console.print(f"Rows rejected, all kept: {rejected}", highlight=False)
        console.print(f"Calls without a price: {summary.totals['unpriced_call_count']}", highlight=False)
    gates = f"Gates: {outcome.passed_count} passed, {len(outcome.failed_checks)} failed."
    console.print(gates, style="green" if outcome.is_success else "red", highlight=False)
    for line in _failed_lines(outcome.failed_checks):
        _print_line(console, f"  failed: {line}")
    for failure in outcome.failures:
        _print_line(console, f"  stopped: {failure}")
    if not outcome.ranges:
        _print_line(console, "No day had changed since it was built; what is published stays.")
    published = settings.serving_path if settings.serving_path.exists() else "nothing published yet"
    _print_line(console, f"Serving warehouse: {published}")
    _print_line(console, f"Finance exports:   {settings.exports_dir if settings.exports_dir.exists() else 'none yet'}")
    _print_line(console, f"Dagster UI:        DAGSTER_HOME={settings.dagster_home} dagster dev")
    _print_line(console, f"{seconds:.0f} s")


def _failed_lines(checks: Sequence[Any]) -> Iterator[str]:
    """Give a line per failed gate, and one per asset for all those that had no row to judge."""
    unjudged: dict[str, list[Any]] = {}
    for check in checks:
        if check.evaluated_count == 0:
            unjudged.setdefault(check.asset, []).append(check)
    for asset, (first, *others) in unjudged.items():
        more = f", like {len(others)} more gates of {asset}" if others else ""
        yield f"{first.name}: no row to judge{more}. Rule: {first.rule}"
    for check in checks:
        if check.evaluated_count > 0:
            yield f"{check.name}: {check.violation_count} of {check.evaluated_count}. Rule: {check.rule}"


def _spend_table(summary: Any) -> Table:  # noqa: ANN401
    totals = summary.totals
    table = Table(title=f"Spend {totals['first_date']} to {totals['last_date']}, USD", title_justify="left")
    _columns(table, ["provider"], ["calls", "list", "effective"])
    for row in summary.spend_by_provider:
        table.add_row(
            row["provider_name"],
            _count(row["call_count"]),
            _usd(row["list_cost_usd"]),
            _usd(row["effective_cost_usd"]),
        )
    table.add_row(
        "all", _count(totals["call_count"]), _usd(totals["list_cost_usd"]), _usd(totals["effective_cost_usd"])
    )
    return table


def _use_case_table(summary: Any) -> Table:  # noqa: ANN401
    table = Table(
        title="Use cases, USD; ROI as a multiple of cost, forecast as P10 .. P50 .. P90 of the next 90 days",
        title_justify="left",
    )
    numbers = ["instances", "success", "cost", "per success", "value", "ROI so far", "ROI forecast"]
    _columns(table, ["use case"], numbers)
    for row in summary.use_cases:
        table.add_row(
            row["use_case_id"],
            _count(row["instance_count"]),
            _share(row["success_share"]),
            _usd(row["cost_usd"]),
            _usd(row["cost_usd_per_costed_success"], digits=4),
            _usd(row["value_usd"]),
            _multiple(row["roi_share"]),
            " .. ".join(_multiple(row[f"{name}_roi_share"]) for name in ("p10", "p50", "p90"))
            if row["p50_roi_share"] is not None
            else "unknown",
        )
    return table


def _capacity_table(summary: Any) -> Table:  # noqa: ANN401
    table = Table(title="Bought capacity, USD", title_justify="left")
    _columns(table, ["commitment"], ["cost", "used", "idle", "unallocated", "utilisation", "spilled calls"])
    for row in summary.capacity:
        table.add_row(
            row["commitment_id"] or "unknown",
            _usd(row["cost_usd"]),
            _usd(row["used_cost_usd"]),
            _usd(row["idle_cost_usd"]),
            _usd(row["unallocated_cost_usd"]),
            _share(row["utilization_share"]),
            _count(row["spillover_call_count"]),
        )
    return table


def _columns(table: Table, texts: Sequence[str], numbers: Sequence[str]) -> None:
    for name in texts:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")


def _usd(amount: Decimal | float | None, *, digits: int = 2) -> str:
    return "unknown" if amount is None else f"{amount:,.{digits}f}"


def _share(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:,.1f} %"


def _multiple(share: float | None) -> str:
    return "unknown" if share is None else f"{share:,.2f}x"


def _count(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"


@contextlib.contextmanager
def _clear_errors() -> Any:  # noqa: ANN401 - a generator
    """Show the project's own errors as one message, without a traceback."""
    try:
        yield
    except TokenledgerError as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        _leave(2)


@contextlib.contextmanager
def _stdout_to_stderr() -> Any:  # noqa: ANN401 - a generator
    """Send whatever libraries print to stderr, also below Python's level."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)


def _leave(code: int) -> NoReturn:
    """End the process without the interpreter's teardown, in which DuckDB 2.0 reports leaks of its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
