"""Which kinds of source feed the warehouse: those that are configured, and those whose landings still count."""

from dagster_project.settings import Settings
from dagster_project.sources import discover
from dagster_project.warehouse.landing import LandingZone


def fed_kinds(settings: Settings) -> list[str]:
    """Give the kinds that have records in the ledger: configured ones in the file's order, then former ones.

    A kind whose last source was taken out of the configuration still feeds the ledger with what it landed; one whose
    landings are all to be withdrawn does not.
    """
    connectors = discover()
    configured = dict.fromkeys(options.kind for options in settings.sources)
    withdrawn = {(item.kind, item.name) for item in settings.former_sources if item.landings == "withdrawn"}
    zone = LandingZone(settings.landing_dir)
    left = [
        kind
        for kind in zone.kinds()
        if kind in connectors
        and kind not in configured
        and any((kind, landing.source_name) not in withdrawn for landing in zone.current(kind))
    ]
    return [*configured, *left]


def fed_parts(settings: Settings) -> set[str]:
    """Give what the ledger can be asked for: the fed kinds, their feeds, and the kinds that stage what they land.

    Feed and staging of a kind that may rightly have no record (nobody has entered a score) are left out as long as it
    has none.
    """
    connectors = discover()
    zone = LandingZone(settings.landing_dir)
    kinds = fed_kinds(settings)
    parts = set(kinds)
    for kind in kinds:
        connector = connectors[kind]
        may_be_empty = all(entity.may_be_empty for entity in connector.entities)
        if not may_be_empty or any(landing.rows_landed for landing in zone.current(kind)):
            parts |= {connector.feed, connector.staging_kind}
    return parts
