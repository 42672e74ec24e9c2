"""Which kinds of source feed the warehouse: those that are configured, and those whose landings still count."""

from dagster_project.settings import Settings
from dagster_project.sources import discover
from dagster_project.sources._connector import Feed
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


def fed_feeds(settings: Settings) -> set[Feed]:
    """Give the feeds of the kinds that have records in the ledger."""
    connectors = discover()
    return {connectors[kind].feed for kind in fed_kinds(settings)}
