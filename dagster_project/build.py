"""The one assembly path: from settings to Dagster definitions. The command line and the tests use it too."""

import csv
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from dagster_project import schedules
from dagster_project.analytics.capacity_recommendations import (
    COST_CURVES,
    MODEL_CHANGES,
    RECOMMENDATIONS,
    capacity_recommendation_assets,
)
from dagster_project.analytics.cost_distributions import DISTRIBUTIONS, HISTOGRAMS, cost_distribution_assets
from dagster_project.analytics.deployment_alternatives import ALTERNATIVES, deployment_alternative_assets
from dagster_project.analytics.roi_forecasts import CALIBRATION, FORECASTS, roi_forecast_assets
from dagster_project.demo_assets import demo_assets
from dagster_project.gates.ledger_assets import ledger_checks
from dagster_project.progress import Progress
from dagster_project.publish.assets import export_assets, serving_assets
from dagster_project.settings import Settings, load_settings
from dagster_project.warehouse.dbt import DbtProject, daily_tables, filled_seeds
from dagster_project.warehouse.dbt_assets import dbt_stage_assets
from dagster_project.warehouse.feeds import fed_parts
from dagster_project.warehouse.raw_assets import raw_assets
from dagster_project.warehouse.repricing import repricing_assets


def build_defs(*, settings: Settings | None = None, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Assemble assets, checks, jobs, schedules and sensors.

    Args:
        settings: The configuration; default the environment's.
        resources: Replacements of resources, by key; `progress` is the one there is.
    """
    settings = settings or load_settings()
    project = DbtProject(settings)
    partitions = daily_partitions(settings)
    manifest = project.manifest()
    parts = configured_parts(settings)
    raw = raw_assets(settings)
    models = dbt_stage_assets(settings, project, partitions, parts)
    published = sorted(node["name"] for node in manifest["nodes"].values() if node["fqn"][1:2] == ["marts"])
    assets = [
        *demo_assets(settings),
        *raw,
        *repricing_assets(settings, project),
        *models,
        cost_distribution_assets(settings),
        roi_forecast_assets(settings),
        capacity_recommendation_assets(settings),
        deployment_alternative_assets(settings),
        serving_assets(
            settings,
            [
                *published,
                HISTOGRAMS,
                DISTRIBUTIONS,
                FORECASTS,
                CALIBRATION,
                RECOMMENDATIONS,
                COST_CURVES,
                MODEL_CHANGES,
                ALTERNATIVES,
            ],
            parts,
            daily_tables(manifest, "marts"),
        ),
        export_assets(settings),
    ]
    jobs = schedules.jobs(settings)
    return dg.Definitions(
        assets=assets,
        asset_checks=ledger_checks(settings, parts),
        jobs=list(jobs),
        schedules=schedules.schedules(settings),
        sensors=schedules.sensors(settings),
        resources={"progress": Progress(), **(resources or {})},
        executor=dg.in_process_executor,
    )


def daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Give the daily UTC partitions: from the configured start to today, or to the configured as-of instant."""
    end = None
    if settings.as_of is not None:
        end = ((settings.as_of or datetime.now(UTC)) - timedelta(microseconds=1)).date() + timedelta(days=1)
    return dg.DailyPartitionsDefinition(
        start_date=settings.start_date.isoformat(),
        end_date=end.isoformat() if end else None,
        timezone="UTC",
        end_offset=0 if end else 1,
    )


def configured_parts(settings: Settings) -> frozenset[str]:
    """Say what a company has, and so what gates can ask of it: what it lacks is not judged, what it has must have rows.

    Returns:
        Feeds (usage, rates, invoices, reports, kpis), kinds that feed the ledger or stage what others land, and the
        reference files that have rows. Of these also use_cases, commitments and deployments by their own names, and
        deployed_capacity when usage is fed and a deployment draws on a commitment: one of the reference data, or those
        of a source that names a commitment. A commitment may have no deployment yet, and a deployment without a
        commitment is paid as it goes.
    """
    filled = filled_seeds(settings.reference_dir)
    parts = {*fed_parts(settings), *filled}
    rows = {part: _reference_rows(settings, part) for part in ("use_cases", "commitments", "deployments")}
    parts |= {part for part, found in rows.items() if found}
    bought = {row.get("commitment_id") for row in rows["commitments"]} - {None, ""}
    drawn = {row.get("commitment_id") for row in rows["deployments"]}
    drawn |= {name for options in settings.sources for name in getattr(options, "commitment_ids", ())}
    if "usage" in parts and bought & drawn:
        parts.add("deployed_capacity")
    return frozenset(parts)


def _reference_rows(settings: Settings, name: str) -> list[dict[str, str]]:
    """Rows of a reference file; none when the file is absent."""
    path = settings.reference_dir / f"seed_{name}.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))
