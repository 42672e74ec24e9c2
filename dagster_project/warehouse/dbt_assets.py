"""dbt models as assets: one op per folder of a stage, so that a failed gate stops only what lies below it.

Models become assets and dbt tests become asset checks through dagster-dbt; what runs is `DbtProject.build`, in this
process. The folder tree decides the ops: nothing here names a model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, dbt_assets
from dagster_dbt import DbtProject as DagsterDbtProject

from dagster_project.gates.checks import check_result
from dagster_project.gates.gate import SAMPLE_ROW_COUNT, GateResult, GateRun, sample_json
from dagster_project.gates.results import record
from dagster_project.progress import Progress
from dagster_project.settings import Settings
from dagster_project.sources import discover
from dagster_project.warehouse import restatement
from dagster_project.warehouse.calendar import Calendar, Window
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import (
    DBT_PROJECT_DIR,
    DbtProject,
    NodeResult,
    rebuilt_days_around,
    window_vars,
)
from dagster_project.warehouse.landing import LandingZone
from dagster_project.warehouse.raw import HISTORY_SUFFIX, refresh_views
from dagster_project.warehouse.run_window import run_window

STAGES = ("reference", "staging", "intermediate", "marts")

_NOTHING_FED = "without_source"


class Translator(DagsterDbtTranslator):
    """Names dbt nodes in Dagster: a model's key is its own name, a group is a stage."""

    def __init__(self) -> None:
        super().__init__(
            settings=DagsterDbtTranslatorSettings(enable_asset_checks=True, enable_source_tests_as_checks=False)
        )

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Give a node's asset key: the model's own name, or that of the raw table, whose history is the same asset."""
        name = dbt_resource_props["name"]
        return dg.AssetKey(
            name.removesuffix(HISTORY_SUFFIX) if dbt_resource_props["resource_type"] == "source" else name
        )

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """Give a node's group: its stage."""
        return _stage(dbt_resource_props)


@dataclass(frozen=True)
class Folder:
    """One folder of models, built by one op; the staging folders without any source are built together.

    Attributes:
        stage: Stage of the house.
        name: The folder's name; empty for the seeds.
        selectors: What dbt selects.
        is_daily: Whether its days are partitions in the UI (`meta.is_partitioned`). The other folders are built for
            the days of the run without being partitioned: each partition of each asset costs two events per run,
            and would show nothing that the ledger's do not.
    """

    stage: str
    name: str
    selectors: tuple[str, ...]
    is_daily: bool

    @property
    def op_name(self) -> str:
        """Name of the op."""
        return "_".join(part for part in ("dbt", self.stage, self.name) if part)


def folders(manifest: Mapping[str, Any], parts: frozenset[str]) -> list[Folder]:
    """Give the folders of the project, by stage, from the manifest.

    Args:
        manifest: dbt's.
        parts: What the configuration feeds: an op's fixed time is not spent on each kind of source that nobody has.
    """
    found = [Folder("reference", "", ("resource_type:seed",), is_daily=False)]
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    paths = sorted({tuple(node["fqn"][1:3]) for node in models}, key=lambda path: (STAGES.index(path[0]), path[1]))
    selectors: dict[tuple[str, str], list[str]] = {}
    for stage, name in paths:
        is_fed = stage != "staging" or not parts.isdisjoint(kinds_read(name))
        selectors.setdefault((stage, name if is_fed else _NOTHING_FED), []).append(f"fqn:tokenledger.{stage}.{name}")
    partitioned = {tuple(node["fqn"][1:3]) for node in models if node["config"]["meta"].get("is_partitioned")}
    for (stage, name), selected in selectors.items():
        found.append(Folder(stage, name, tuple(selected), is_daily=(stage, name) in partitioned))
    return found


def build_vars(settings: Settings, window: Window) -> dict[str, str]:
    """Give the dbt vars of a build of a window's days: the window, and the calendar that it is part of."""
    return {
        **window_vars(window.first_date, window.last_date),
        "calendar_start_date": settings.start_date.isoformat(),
        "calendar_end_at": Calendar.of(settings).end_at.isoformat(),
    }


def dbt_stage_assets(
    settings: Settings, project: DbtProject, partitions: dg.PartitionsDefinition, parts: frozenset[str]
) -> list[dg.AssetsDefinition]:
    """Build the asset definitions of every folder.

    Args:
        settings: The configuration.
        project: The dbt project.
        partitions: The days.
        parts: What the configuration feeds; a test tagged `needs_<part>` is left out without that part.
    """
    manifest = project.manifest()
    left_out_tags = tags_without_subject(manifest, parts)
    return [
        _folder_assets(settings, project, manifest, folder, partitions, left_out_tags=left_out_tags)
        for folder in folders(manifest, parts)
    ]


def _folder_assets(
    settings: Settings,
    project: DbtProject,
    manifest: Mapping[str, Any],
    folder: Folder,
    partitions: dg.PartitionsDefinition,
    *,
    left_out_tags: Sequence[str],
) -> dg.AssetsDefinition:
    @dbt_assets(
        manifest=project.manifest_path,
        select=" ".join(folder.selectors),
        exclude=" ".join(["resource_type:unit_test", *(f"tag:{tag}" for tag in left_out_tags)]),
        name=folder.op_name,
        partitions_def=partitions if folder.is_daily else None,
        backfill_policy=dg.BackfillPolicy.single_run() if folder.is_daily else None,
        dagster_dbt_translator=Translator(),
        project=DagsterDbtProject(
            project_dir=DBT_PROJECT_DIR,
            profiles_dir=DBT_PROJECT_DIR,
            target_path=project.manifest_path.parent,
        ),
    )
    def build(
        context: dg.AssetExecutionContext, progress: dg.ResourceParam[Progress]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        window = run_window(context.run.tags, settings)
        if folder.stage == "staging":
            for kind in kinds_read(folder.name):
                _require_accepted(settings, kind)
        if folder.is_daily:
            with open_warehouse(settings) as con:
                restatement.note_attempt(con, window, now=datetime.now(UTC))
        with progress.step(folder.stage, folder.name or "seeds") as step:
            nodes = project.build_folder(
                folder.selectors, left_out_tags=left_out_tags, variables=build_vars(settings, window)
            )
            models = [node for node in nodes if node.resource_type in {"model", "seed"}]
            tests = [node for node in nodes if node.resource_type == "test" and node.status != "skipped"]
            with open_warehouse(settings) as con:
                counts = {
                    node.name: _row_count(con, manifest["nodes"][node.unique_id]) for node in models if node.is_ok
                }
                run = _gate_run(context, window)
                judged = [_judged(con, manifest, node, run) for node in tests]
                record(con, [result for _, result in judged])
            step.rows = sum(count for count in counts.values() if count is not None)
        yield from _outcomes(models, judged, counts)
        _fail_if_any(context, nodes)

    return build


def _outcomes(
    models: Sequence[NodeResult], judged: Sequence[tuple[str, GateResult]], counts: Mapping[str, int | None]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    for node in models:
        if node.is_ok:
            metadata: dict[str, Any] = {"execution_s": node.execution_s}
            if counts[node.name] is not None:
                metadata["dagster/row_count"] = counts[node.name]
            yield dg.MaterializeResult(asset_key=node.name, metadata=metadata)
    built = {node.name for node in models if node.is_ok}
    for subject, result in judged:
        if subject in built:
            yield check_result(result, subject)


def _fail_if_any(context: dg.AssetExecutionContext, nodes: Sequence[NodeResult]) -> None:
    broken = [node for node in nodes if node.status == "error" or (node.resource_type != "test" and not node.is_ok)]
    errors = [node for node in broken if node.status != "skipped"]
    for node in errors:
        context.log.error("%s: %s", node.name, node.message)
    if broken:
        named = ", ".join(f"{node.name} ({node.message.strip().splitlines()[0]})" for node in errors if node.message)
        raise dg.Failure(
            description=f"dbt built {len(nodes) - len(broken)} of {len(nodes)} nodes; "
            f"failed: {named or 'see the gates'}. What lies below was not built; correct the cause and run again.",
        )


def _gate_run(context: dg.AssetExecutionContext, window: Window) -> GateRun:
    return GateRun(
        run_id=context.run.run_id,
        checked_at=datetime.now(UTC),
        window_start_date=window.first_date,
        window_end_date=window.last_date,
    )


def kinds_read(folder_name: str) -> list[str]:
    """Give the kinds of source that a folder of staging models reads: those that it stages, or all of its feed."""
    connectors = discover()
    return sorted(
        kind for kind, connector in connectors.items() if folder_name in {connector.staging_kind, connector.feed}
    )


def _require_accepted(settings: Settings, kind: str) -> None:
    """Refuse to build on a raw table whose last judgement failed, whoever started the run."""
    connector = discover()[kind]
    with open_warehouse(settings) as con:
        refresh_views(con, LandingZone(settings.landing_dir), [connector])
        if not con.execute(
            "select 1 from information_schema.tables where table_schema = 'ops' and table_name = 'gate_results'"
        ).fetchone():
            return
        failed = con.execute(
            """
            select gate_name, violation_count, evaluated_count
            from ops.gate_results
            where stage = 'raw' and subject like $subject and severity = 'block'
            qualify row_number() over (partition by gate_name order by checked_at desc) = 1 and not is_passed
            """,
            {"subject": f"{kind}_%"},
        ).fetchall()
    if failed:
        unjudged_count = sum(judged == 0 for _, _, judged in failed)
        unjudged = [f"{unjudged_count} that had no row to judge"] if unjudged_count else []
        listed = ", ".join([*(f"{name} ({bad} of {judged})" for name, bad, judged in failed if judged), *unjudged])
        raise dg.Failure(
            description=f"Staging of {kind} was not built: its last raw gates failed: {listed}. "
            "Expected all to pass; correct the feed, pull it again, then build."
        )


def _row_count(con: duckdb.DuckDBPyConnection, node: Mapping[str, Any]) -> int | None:
    """Rows of a table from DuckDB's own book-keeping; None for a view, which would have to be computed."""
    found = con.execute(
        "select estimated_size from duckdb_tables() where schema_name = ? and table_name = ?",
        [node["schema"], node["name"]],
    ).fetchone()
    return int(found[0]) if found else None


def _judged(
    con: duckdb.DuckDBPyConnection, manifest: Mapping[str, Any], result: NodeResult, run: GateRun
) -> tuple[str, GateResult]:
    """Give the model that a test judged and the judgement as a gate result."""
    node = manifest["nodes"][result.unique_id]
    subject = str(node["attached_node"])
    evaluated = _evaluated_count(con, manifest["nodes"][subject], node, run)
    violations = result.failures if result.failures is not None else max(evaluated, 1)
    sample: list[dict[str, object]] = [{"message": result.message}] if not result.is_ok else []
    if not result.is_ok and result.compiled_sql:
        cursor = con.execute(f"select * from ({result.compiled_sql}) limit {SAMPLE_ROW_COUNT}")
        names = [column[0] for column in cursor.description or ()]
        sample = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    meta = node["config"].get("meta", {})
    return manifest["nodes"][subject]["name"], GateResult(
        run_id=run.run_id,
        gate_name=node["name"],
        stage=node["name"].partition("__")[0],
        subject=manifest["nodes"][subject]["name"],
        tool="dbt",
        severity="warn" if node["config"]["severity"].lower() == "warn" else "block",
        is_passed=result.is_ok and evaluated > 0,
        evaluated_count=evaluated,
        violation_count=violations,
        rule=meta.get("rule", node.get("description", "")),
        why=meta.get("why", ""),
        sample_json=sample_json(sample),
        window_start_date=run.window_start_date,
        window_end_date=run.window_end_date,
        checked_at=run.checked_at,
    )


def _evaluated_count(
    con: duckdb.DuckDBPyConnection, model: Mapping[str, Any], test: Mapping[str, Any], run: GateRun
) -> int:
    """Count what a test judged: the built days' rows, or the latest day's before their end (macros/judged.sql).

    A list that may rightly be empty counts as one thing judged when it is.
    """
    relation = f'"{model["schema"]}"."{model["name"]}"'
    arguments = (test.get("test_metadata") or {}).get("kwargs", {})
    day_column = arguments.get("day_column")
    if not day_column or run.window_start_date is None:
        [(count,)] = con.execute(f"select count(*) from {relation}").fetchall()
    elif arguments.get("latest_day_only"):
        [(count,)] = con.execute(
            f"select count(*) from {relation} "
            f"where {day_column} = (select max({day_column}) from {relation} where {day_column} <= $last)",
            {"last": run.window_end_date},
        ).fetchall()
    else:
        around = f"to_days({rebuilt_days_around(model)})"
        last = f"cast($last + {around} as date)"
        [(count,)] = con.execute(
            f"""
            select count(*) from {relation}
            where {day_column} <= {last} and {day_column} >= (
                select least(cast($first - {around} as date), max({day_column})) from {relation}
                where {day_column} <= {last}
            )
            """,
            {"first": run.window_start_date, "last": run.window_end_date},
        ).fetchall()
    return max(int(count), 1) if arguments.get("is_empty_allowed") else int(count)


def tags_without_subject(manifest: Mapping[str, Any], parts: frozenset[str]) -> list[str]:
    """Give the tags of the tests that judge what this company does not have."""
    tags = {tag for node in manifest["nodes"].values() for tag in node.get("tags", []) if tag.startswith("needs_")}
    return sorted(tag for tag in tags if tag.removeprefix("needs_") not in parts)


def _stage(node: Mapping[str, Any]) -> str:
    if node["resource_type"] == "seed":
        return "reference"
    return "raw" if node["resource_type"] == "source" else str(node["fqn"][1])
