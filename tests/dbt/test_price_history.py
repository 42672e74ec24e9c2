"""Two years of a public catalogue's mistakes: its unit corrections reprice no call, its ordinary changes do.

The events are those of a mirror of the LiteLLM price file (`price_history/litellm_via_rocry_events_to_2025.parquet`):
of its 241 changes of input and output prices 62 are corrections of the unit, 50-fold and more.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from dagster_project.settings import load_settings
from dagster_project.sources import discover
from dagster_project.sources._rates import unit_price
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DbtProject
from dagster_project.warehouse.landing import LandingZone
from dagster_project.warehouse.raw import refresh_views
from tests.dbt.conftest import CONFIG

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
EVENTS = SHARED_DATA / "price_history" / "litellm_via_rocry_events_to_2025.parquet"

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the public data are not beside the checkout")

KINDS = {"input_cost_per_token": "input", "output_cost_per_token": "output"}
CHANGES = 241
UNIT_CORRECTIONS = 62
PULLED_AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Statement:
    """What the catalogue said of one price from an instant on; `former` is null when it said nothing before."""

    model: str
    kind: str
    observed_at: datetime
    price: Decimal
    former: Decimal | None = None

    @property
    def factor(self) -> Decimal:
        """How far the price moved, at least 1; 0 without a former price or from a price of 0."""
        if not self.former:
            return Decimal(0)
        return max(self.price / self.former, self.former / self.price) if self.price else Decimal("Infinity")


def _statements() -> list[Statement]:
    rows = duckdb.execute(
        "select observed_at, model, event, field, old_value, new_value from read_parquet($path)", {"path": str(EVENTS)}
    ).fetchall()
    found = []
    for observed, model, event, field, old, new in rows:
        at = datetime.fromisoformat(observed).astimezone(UTC)
        stated = json.loads(new, parse_float=Decimal) if event == "added" else {field: new}
        for name, kind in KINDS.items():
            if name in stated and event != "removed" and stated[name] is not None:
                former = Decimal(old) if event == "changed" else None
                found.append(Statement(model, kind, at, unit_price(Decimal(stated[name])), former))
    return sorted(found, key=lambda item: item.observed_at)


@dataclass(frozen=True)
class Ledger:
    """What the warehouse made of the statements."""

    statements: list[Statement]
    held: set[tuple[str, str, datetime, Decimal]]
    in_force: dict[tuple[str, str], list[tuple[datetime, datetime, Decimal]]]

    def price_at(self, statement: Statement, *, is_before: bool) -> Decimal | None:
        """Price with which a call at the statement's instant, or just before it, is priced."""
        found = [
            price
            for start, end, price in self.in_force[statement.model, statement.kind]
            if (start < statement.observed_at <= end if is_before else start <= statement.observed_at < end)
        ]
        assert len(found) <= 1
        return found[0] if found else None


def _build(folder: Path, rows: list[dict[str, object]]) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Build the rates over raw rows, and give what is held and what is in force."""
    (folder / "tokenledger.yaml").write_text(CONFIG, encoding="utf-8")
    settings = load_settings(config_path=folder / "tokenledger.yaml", state_dir=folder / "state", environ={})
    with open_warehouse(settings) as con:
        refresh_views(con, LandingZone(settings.landing_dir), discover().values())
        names = [name for name, *_ in con.execute("describe raw.raw_genai_prices__rates_history").fetchall()]
        con.register("rows", pa.Table.from_pylist(rows))
        known = dict.fromkeys(names, "null") | {name: name for name in rows[0]}
        columns = ", ".join(f"{value} as {name}" for name, value in known.items())
        con.execute(
            f"create table raw.versions as from raw.raw_genai_prices__rates_history limit 0;"
            f"insert into raw.versions by name select {columns} from rows;"
            "create or replace view raw.raw_genai_prices__rates_history as from raw.versions;"
            "create or replace view raw.raw_genai_prices__rates as "
            "select * exclude (superseded_at) from raw.versions where superseded_at is null"
        )
        con.unregister("rows")
    nodes = DbtProject(settings).build(
        ["+int_pricing__rates"], exclude=["resource_type:test", "resource_type:unit_test"]
    )
    assert [(node.name, node.message) for node in nodes if not node.is_ok] == []
    with open_warehouse(settings) as con:
        held = con.execute(
            "select model_id, unit_kind, valid_from_at, unit_price from intermediate.int_pricing__rates_held"
        ).fetchall()
        in_force = con.execute(
            "select model_id, unit_kind, valid_from_at, valid_to_at, unit_price from intermediate.int_pricing__rates"
        ).fetchall()
    return held, in_force


def _row(statement: Statement) -> dict[str, object]:
    return {
        "source_name": "list_prices", "landed_at": PULLED_AT, "input_uri": "prices", "provider_name": "mirror",
        "model_id": statement.model, "unit_kind": statement.kind, "unit_price": statement.price,
        "pricing_currency": "USD", "service_tier": "standard", "is_threshold_inclusive": False,
    }  # fmt: skip


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """One card with the whole history, each price from the instant at which the mirror first had it."""
    statements = _statements()
    rows = [{**_row(item), "valid_from": item.observed_at} for item in statements]
    held, rates = _build(tmp_path_factory.mktemp("dated"), rows)
    in_force: dict[tuple[str, str], list[tuple[datetime, datetime, Decimal]]] = {}
    for model, kind, start, end, price in rates:
        in_force.setdefault((str(model), str(kind)), []).append((start, end, price))  # type: ignore[arg-type]
    return Ledger(statements, {tuple(row) for row in held}, in_force)  # type: ignore[arg-type]


def _corrections(statements: list[Statement]) -> list[Statement]:
    return [item for item in statements if Decimal(50) <= item.factor < Decimal("Infinity")]


def test_the_data_are_those_that_are_spoken_of(dated: Ledger):
    changes = [item for item in dated.statements if item.former is not None]
    assert (len(changes), len(_corrections(changes))) == (CHANGES, UNIT_CORRECTIONS)


def test_no_unit_correction_reprices_a_call(dated: Ledger):
    corrections = _corrections(dated.statements)
    assert len(corrections) == UNIT_CORRECTIONS
    for item in corrections:
        assert (item.model, item.kind, item.observed_at, item.price) in dated.held
        before = dated.price_at(item, is_before=True)
        assert before is not None
        assert dated.price_at(item, is_before=False) == before


def test_ordinary_changes_pass(dated: Ledger):
    held_models = {(model, kind) for model, kind, *_ in dated.held}
    ordinary = [
        item
        for item in dated.statements
        if item.former is not None and item.factor < 20 and (item.model, item.kind) not in held_models
    ]
    # More than half of all changes: the others are corrections, or follow a price that is held.
    assert len(ordinary) > CHANGES / 2
    for item in ordinary:
        assert dated.price_at(item, is_before=False) == item.price


def test_the_same_prices_landed_one_after_the_other_leave_the_same_prices_in_force(
    dated: Ledger, tmp_path_factory: pytest.TempPathFactory
):
    following: dict[tuple[str, str], datetime] = {}
    rows = []
    for item in reversed(dated.statements):
        key = (item.model, item.kind)
        rows.append({**_row(item), "landed_at": item.observed_at, "superseded_at": following.get(key)})
        following[key] = item.observed_at
    _, rates = _build(tmp_path_factory.mktemp("landed"), rows)
    latest = {key: max(prices)[2] for key, prices in dated.in_force.items()}
    assert {(model, kind): price for model, kind, _, _, price in rates} == latest
