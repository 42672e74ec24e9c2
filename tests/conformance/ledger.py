"""The same grid, priced by the ledger: the library's rates landed by their connector, the cells as a feed of calls."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.settings import DEFAULT_REFERENCE_DIR, load_settings
from dagster_project.sources import discover
from dagster_project.warehouse.calendar import AFTER_ALL, BEFORE_ALL
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DbtProject, window_vars
from dagster_project.warehouse.landing import LandingZone, SourceFailure, pull_source
from dagster_project.warehouse.raw import refresh_views
from tests.conformance.grid import Cell

_INSTANT = pa.timestamp("us", "UTC")
_COUNTS = (
    "input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens",
    "reasoning_tokens", "input_audio_tokens", "output_audio_tokens", "input_image_tokens", "web_search_count",
)  # fmt: skip
_TEXTS = ("call_id", "provider_name", "model_name", "operation_name", "service_tier", "region_id")
_SCHEMA = pa.schema(
    [("event_at", _INSTANT), *((name, pa.string()) for name in _TEXTS), *((name, pa.int64()) for name in _COUNTS)]
)

_CONFIG = """\
organization: Conformance
start_date: 2020-01-01
as_of: 2028-01-01T00:00:00Z
reference_dir: reference
sources:
  - name: grid
    kind: table_files
    path: grid.parquet
    format: parquet
    timestamp: {{format: iso}}
    input_includes_cache: true
    output_includes_reasoning: true
    columns: {{{columns}}}
  - {{name: prices, {prices}}}
"""

_PRICED_SQL = """
select call_id, list_cost_usd, unpriced_reason_type
from marts.fct_calls
"""


@dataclass(frozen=True)
class Charge:
    """What the ledger says about a cell: a list cost in USD, or why there is none."""

    cost_usd: Decimal | None
    reason: str | None


def price(cells: Sequence[Cell], prices: str, folder: Path) -> dict[str, Charge]:
    """Price cells as a feed of calls, through the project's own models.

    Args:
        cells: The grid.
        prices: The options of the price source, as YAML of one line (`kind: genai_prices`).
        folder: Where the company of the grid is written.

    Returns:
        The charge by cell id.
    """
    pq.write_table(pa.Table.from_pylist([_row(cell) for cell in cells], schema=_SCHEMA), folder / "grid.parquet")
    _write_reference(folder / "reference")
    columns = ", ".join(f"{name}: {name}" for name in _SCHEMA.names)
    config = folder / "grid.yaml"
    config.write_text(_CONFIG.format(columns=columns, prices=prices), encoding="utf-8")
    settings = load_settings(config_path=config, state_dir=folder / "state", environ={})
    zone = LandingZone(settings.landing_dir)
    connectors = discover()
    for options in settings.sources:
        assert settings.as_of is not None
        landed = pull_source(zone, connectors[options.kind], options, now=settings.as_of)
        failed = [failure for failure in landed if isinstance(failure, SourceFailure)]
        assert not failed, failed
    with open_warehouse(settings) as con:
        refresh_views(con, zone, connectors.values())
    variables = {**window_vars(BEFORE_ALL, AFTER_ALL), "calendar_start_date": settings.start_date.isoformat()}
    nodes = DbtProject(settings).build(
        ["+fct_calls"], exclude=["resource_type:test", "resource_type:unit_test"], variables=variables
    )
    broken = [f"{node.name}: {node.message}" for node in nodes if not node.is_ok]
    assert not broken, broken
    with open_warehouse(settings) as con:
        rows = con.execute(_PRICED_SQL).fetchall()
    return {call_id: Charge(cost_usd, reason) for call_id, cost_usd, reason in rows}


def _row(cell: Cell) -> Mapping[str, Any]:
    counts = {name: cell.quantities.get(name.removesuffix("_tokens").removesuffix("_count"), 0) for name in _COUNTS}
    return {
        **counts,
        "event_at": datetime.fromisoformat(cell.at),
        "call_id": cell.cell_id,
        "provider_name": cell.provider,
        "model_name": cell.reported_model,
        "operation_name": "embeddings" if "embedding" in cell.quantities else "chat",
        "service_tier": cell.service_tier,
        "region_id": cell.region_id,
        "input_tokens": cell.input_tokens,
        "output_tokens": cell.output_tokens,
    }


def _write_reference(folder: Path) -> None:
    """Copy the reference data but for its aliases: the library's names are taken as they are."""
    shutil.copytree(DEFAULT_REFERENCE_DIR, folder)
    for seed in folder.glob("seed_*_aliases.csv"):
        header = seed.read_text(encoding="utf-8").splitlines()[0]
        seed.write_text(f"{header}\n", encoding="utf-8")
