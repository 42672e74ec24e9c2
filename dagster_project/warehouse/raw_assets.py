"""Raw assets: pull every configured source of a kind, land it, show it as raw tables, judge it.

Thin: pulling is `sources/`, landing `landing.py`, views `raw.py`, what changed `restatement.py`, gates `gates/raw.py`.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import duckdb
import orjson

from dagster_project.gates._specs import NEW_FIELDS
from dagster_project.gates.checks import check_results, check_spec
from dagster_project.gates.expectations import Suite, evaluate_suites
from dagster_project.gates.gate import GateResult, GateRun
from dagster_project.gates.landings import (
    inputs_read,
    judge_inputs,
    judge_lines,
    judge_sources,
    lines_conserved,
    sources_known,
)
from dagster_project.gates.raw import SUITES
from dagster_project.gates.results import record
from dagster_project.progress import Progress
from dagster_project.settings import Settings
from dagster_project.sources import discover
from dagster_project.sources._connector import Connector, Entity
from dagster_project.warehouse import restatement
from dagster_project.warehouse.calendar import Calendar
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.feeds import fed_kinds
from dagster_project.warehouse.landing import Landing, LandingZone, SourceFailure, pull_source
from dagster_project.warehouse.raw import raw_table, record_landings, refresh_views

RAW_GROUP = "raw"
DEMO_FEEDS = "novaspark_feeds"


def raw_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Build one asset definition per kind of source that is configured, or whose landings count or are withdrawn."""
    connectors = discover()
    fed = fed_kinds(settings)
    withdrawn = [item.kind for item in settings.former_sources if item.landings == "withdrawn"]
    return [_raw_asset(settings, connectors[kind], is_judged=kind in fed) for kind in dict.fromkeys([*fed, *withdrawn])]


def _raw_asset(settings: Settings, connector: Connector, *, is_judged: bool) -> dg.AssetsDefinition:
    sources = [item for item in settings.sources if item.kind == connector.kind]
    former_sources = [item for item in settings.former_sources if item.kind == connector.kind]
    tables = {entity.name: raw_table(connector, entity) for entity in connector.entities}
    first_table = next(iter(tables.values()))
    suites = [
        suite for suite in SUITES if is_judged and f"raw_{suite.subject}" in {_flat(table) for table in tables.values()}
    ]
    is_bill = is_judged and connector.feed == "invoices"
    by_subject = {_flat(table): table for table in tables.values()}

    @dg.multi_asset(
        name=f"pull_{connector.kind}",
        specs=[
            dg.AssetSpec(
                key=table,
                group_name=RAW_GROUP,
                description=f"One row per landed record: {entity.name} of {connector.kind}, as it was reported.",
                deps=[DEMO_FEEDS] if settings.demo else [],
                kinds={"parquet", "duckdb"},
                tags={"feed": connector.feed},
            )
            for entity, table in zip(connector.entities, tables.values(), strict=True)
        ],
        check_specs=[
            *(check_spec(gate, by_subject[f"raw_{suite.subject}"]) for suite in suites for gate in suite.gates),
            *([check_spec(sources_known(connector.kind), first_table)] if is_judged else []),
            *([check_spec(inputs_read(connector.kind), first_table)] if sources else []),
            *([check_spec(lines_conserved(connector.kind), first_table)] if is_bill else []),
        ],
    )
    def pull(
        context: dg.AssetExecutionContext, progress: dg.ResourceParam[Progress]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        now = settings.as_of or datetime.now(UTC)
        hash_key = settings.hash_key.get_secret_value().encode() if settings.hash_key else None
        zone = LandingZone(settings.landing_dir, hash_key=hash_key)
        with progress.step("raw", connector.kind) as step:
            outcomes = [
                item
                for options in sources
                for item in pull_source(zone, connector, options, now=now, reference_dir=settings.reference_dir)
            ]
            failures = [item for item in outcomes if isinstance(item, SourceFailure)]
            for former in former_sources:
                if former.landings == "withdrawn":
                    zone.withdraw(former.kind, former.name, now=now)
            landings = zone.current(connector.kind)
            step.rows = sum(landing.rows_landed for landing in landings)
            step.rejected = sum(landing.rows_rejected for landing in landings)
            with open_warehouse(settings) as con:
                days = show_landings(con, settings, connector, zone)
                pending = restatement.pending_days(con)
        run = GateRun(run_id=context.run.run_id, checked_at=datetime.now(UTC))
        with progress.step("raw gates", connector.kind), open_warehouse(settings) as con:
            judged = [_over_pending(suite, landings, pending, Calendar.of(settings)) for suite in suites]
            results = evaluate_suites(database_path=settings.warehouse_path, suites=judged, run=run, connection=con)
            if is_judged:
                known_names = {*(item.name for item in sources), *(item.name for item in former_sources)}
                results.append(judge_sources(con, connector.kind, known_names, run=run))
            if sources:
                inputs = {(item.source_name, item.input_uri) for item in outcomes}
                results.append(judge_inputs(connector.kind, len(inputs), [vars(item) for item in failures], run=run))
            if is_bill:
                results.append(judge_lines(con, connector.kind, first_table, run=run))
            record(con, results)
        for entity in connector.entities:
            landed = [item for item in landings if item.entity == entity.name]
            yield dg.MaterializeResult(
                asset_key=tables[entity.name],
                metadata={**_metadata(landed, days), **_new_fields(connector, entity, results)},
            )
        for suite in suites:
            table = by_subject[f"raw_{suite.subject}"]
            yield from check_results([item for item in results if item.subject == suite.subject], table)
        yield from check_results([item for item in results if item.subject == connector.kind], first_table)
        _fail_if_any(failures)

    return pull


def _flat(table: str) -> str:
    return table.replace("__", "_")


def _over_pending(suite: Suite, landings: Sequence[Landing], pending: AbstractSet[date], calendar: Calendar) -> Suite:
    """Restrict a suite to the landed days that wait for a build, or to the latest one when none does.

    A day that waits has not been accepted, whenever it landed; a day that does not was judged before it was built.
    """
    if suite.day_column is None:
        return suite
    landed = {day for landing in landings for day in landing.event_dates}
    if not landed:
        return suite
    days = {day for day in landed if calendar.clamp(day) in pending} or {max(landed)}
    return suite.over_window(min(days), max(days) + timedelta(days=1))


def show_landings(
    con: duckdb.DuckDBPyConnection, settings: Settings, connector: Connector, zone: LandingZone
) -> list[date]:
    """Show a connector's current landings as raw tables, and request the days that differ from what was seen.

    Days of the calendar that were never requested, and all days when the reference data changed, are requested too.

    Returns:
        The days that the landings request, sorted.
    """
    now = datetime.now(UTC)
    calendar = Calendar.of(settings)
    refresh_views(con, zone, [connector])
    record_landings(con, zone.current())
    days = restatement.note_landings(con, connector, zone.current(connector.kind), calendar=calendar, now=now)
    restatement.note_reference(con, settings.reference_dir, calendar=calendar, now=now)
    restatement.note_days(con, calendar=calendar, now=now)
    return days


def _metadata(landings: Sequence[Landing], days: Sequence[date]) -> dict[str, dg.MetadataValue]:
    events = [item for landing in landings for item in (landing.min_event_at, landing.max_event_at) if item]
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/row_count": dg.MetadataValue.int(sum(landing.rows_landed for landing in landings)),
        "rejected_rows": dg.MetadataValue.int(sum(landing.rows_rejected for landing in landings)),
        "inputs": dg.MetadataValue.int(len({landing.input_uri for landing in landings})),
        "restated_days": dg.MetadataValue.json([day.isoformat() for day in days]),
    }
    if events:
        metadata["min_event_at"] = dg.MetadataValue.text(min(events).isoformat())
        metadata["max_event_at"] = dg.MetadataValue.text(max(events).isoformat())
    return metadata


def _new_fields(connector: Connector, entity: Entity, results: Sequence[GateResult]) -> dict[str, dg.MetadataValue]:
    """Name the fields that an entity's records have and its format did not have, as its gate found them."""
    if entity.known_attributes is None:
        return {}
    name = f"raw__{connector.kind}_{entity.name}_{NEW_FIELDS}_known"
    rows = [row for item in results if item.gate_name == name for row in orjson.loads(item.sample_json)]
    fields = sorted(row["field"] for row in rows if "field" in row)
    return {"new_fields": dg.MetadataValue.json(fields)}


def _fail_if_any(failures: Sequence[SourceFailure]) -> None:
    """Fail the pull unless the last good version of all that could not be read stays in force."""
    fatal = [item for item in failures if item.last_good_at is None]
    if fatal:
        raise dg.Failure(
            description="; ".join(f"{item.source_name}: {item.message}" for item in fatal),
            allow_retries=all(item.is_transient for item in fatal),
        )
