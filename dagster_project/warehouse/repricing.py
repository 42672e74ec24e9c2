"""The asset that finds which days a change of prices touches.

What a call costs follows from rates, contracts, aliases, rates of exchange and their precedence, by SQL. So the SQL
itself says what a change touches: the rate cards are built anew and compared with those that priced the ledger.
"""

import hashlib
from datetime import UTC, date, datetime

import dagster as dg

from dagster_project.progress import Progress
from dagster_project.settings import Settings
from dagster_project.sources import discover
from dagster_project.warehouse import restatement
from dagster_project.warehouse.calendar import AFTER_ALL, BEFORE_ALL, Calendar
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DbtProject, window_vars
from dagster_project.warehouse.landing import LandingZone
from dagster_project.warehouse.raw import raw_table, refresh_views
from dagster_project.warehouse.raw_assets import RAW_GROUP

REPRICED_DAYS = "repriced_days"
_SELECTED = ("resource_type:seed", "fqn:tokenledger.staging", "fqn:tokenledger.intermediate.pricing")
_EXCLUDED = ("resource_type:test", "resource_type:unit_test", "config.materialized:incremental")


def repricing_assets(settings: Settings, project: DbtProject) -> list[dg.AssetsDefinition]:
    """Build the asset `repriced_days`; none where the configuration has no rates."""
    connectors = discover()
    kinds = _rate_kinds(settings)
    if not kinds:
        return []

    @dg.asset(
        name=REPRICED_DAYS,
        group_name=RAW_GROUP,
        deps=[raw_table(connectors[kind], entity) for kind in kinds for entity in connectors[kind].entities],
        description="The days on which a changed rate, contract or alias prices a call otherwise than the ledger does.",
        tags={"feed": "rates"},
    )
    def repriced_days(progress: dg.ResourceParam[Progress]) -> dg.MaterializeResult:
        with progress.step("raw", REPRICED_DAYS) as step:
            days = request_repriced_days(settings, project)
            step.rows = len(days)
        return dg.MaterializeResult(
            metadata={"restated_days": dg.MetadataValue.json([day.isoformat() for day in days])}
        )

    return [repriced_days]


def request_repriced_days(settings: Settings, project: DbtProject) -> list[date]:
    """Build the rate cards from what has landed, and request the days on which they price a call otherwise.

    Args:
        settings: The configuration.
        project: The dbt project of this configuration.

    Returns:
        The requested days, sorted; empty while no call was ever priced.

    Raises:
        dg.Failure: the rate cards could not be built; no day was requested.
    """
    zone = LandingZone(settings.landing_dir)
    landed = sorted(landing.landing_id for kind in _rate_kinds(settings) for landing in zone.current(kind))
    stated = hashlib.sha256("\n".join([project.fingerprint(), *landed]).encode()).hexdigest()
    with open_warehouse(settings) as con:
        if restatement.is_priced_from(con, stated):
            return []
        refresh_views(con, zone, discover().values())
        is_built = restatement.has_rate_cards(con)
    if is_built:
        nodes = project.build(_SELECTED, exclude=_EXCLUDED, variables=window_vars(BEFORE_ALL, AFTER_ALL))
        broken = [f"{node.name}: {node.message}" for node in nodes if not node.is_ok]
        if broken:
            raise dg.Failure(
                description=f"The rate cards could not be built: {'; '.join(broken)}. No day was requested; "
                "correct the cause and pull the rates again."
            )
    with open_warehouse(settings) as con:
        return restatement.note_rate_cards(con, stated, calendar=Calendar.of(settings), now=datetime.now(UTC))


def _rate_kinds(settings: Settings) -> list[str]:
    connectors = discover()
    return sorted({options.kind for options in settings.sources if connectors[options.kind].feed == "rates"})
