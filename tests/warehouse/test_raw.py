"""Landing files as views of the warehouse: only what the manifest names, typed when there is nothing."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from dagster_project.sources import discover
from dagster_project.sources._connector import Batch, Connector, Entity, InputIdentity, InputPull, SourceOptions
from dagster_project.warehouse.landing import LANDING_COLUMNS, LandingZone, pull_source
from dagster_project.warehouse.raw import history_table, raw_table, record_landings, refresh_views
from tests.sources.pulling import Pulled, pull

CALLS = "at,id,n\n2026-07-01T10:00:00Z,a,5\n2026-07-02T11:00:00Z,b,7\nyesterday,c,1\n"
TERM_COLUMNS = "contract_id,provider_name,model_pattern,term_type,unit_kind,usd_per_million,valid_from,is_list,evidence"
COLUMNS = {"event_at": "at", "call_id": "id", "input_tokens": "n"}


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("create schema raw")
        connection.execute("create schema ops")
        yield connection


def _pull(folder: Path, content: str, hour: int = 0) -> Pulled:
    (folder / "calls.csv").write_text(content, encoding="utf-8")
    now = datetime(2026, 10, 1, hour, tzinfo=UTC)
    return pull(folder, "table_files", path=str(folder / "calls.csv"), format="csv", columns=COLUMNS, now=now)


def test_raw_tables_are_named_after_kind_and_entity():
    connector = discover()["genai_prices"]
    assert [raw_table(connector, entity) for entity in connector.entities] == [
        "raw_genai_prices__rates",
        "raw_genai_prices__model_patterns",
    ]


@pytest.mark.parametrize("kind", sorted(discover()))
def test_kind_that_has_landed_nothing_is_an_empty_view_of_every_column(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, kind: str
):
    pulled = _pull(tmp_path, CALLS)
    connector = discover()[kind]
    if kind != "table_files":
        refresh_views(con, pulled.zone, [connector])
        for entity in connector.entities:
            relation = con.sql(f"select * from raw.{raw_table(connector, entity)}")
            assert set(relation.columns) >= set(entity.schema.names)
            assert relation.fetchall() == []


def test_view_shows_current_records_and_rejects(con: duckdb.DuckDBPyConnection, tmp_path: Path):
    pulled = _pull(tmp_path, CALLS)
    refresh_views(con, pulled.zone, [discover()["table_files"]])
    calls = "select call_id, input_tokens, event_date, source_name from raw.raw_table_files__calls order by call_id"
    assert con.execute(calls).fetchall() == [
        ("a", 5, date(2026, 7, 1), "feed"),
        ("b", 7, date(2026, 7, 2), "feed"),
    ]
    rejected = "select record_index, reason_code from raw.raw_table_files__calls_rejected"
    assert con.execute(rejected).fetchall() == [(2, "value_unparsable")]


def test_view_of_a_corrected_input_shows_the_correction_only(con: duckdb.DuckDBPyConnection, tmp_path: Path):
    _pull(tmp_path, CALLS)
    pulled = _pull(tmp_path, CALLS.replace(",5\n", ",50\n").replace("yesterday,c,1\n", ""), hour=1)
    refresh_views(con, pulled.zone, [discover()["table_files"]])
    assert con.execute("select sum(input_tokens), count(*) from raw.raw_table_files__calls").fetchall() == [(57, 2)]
    assert con.execute("select count(*) from raw.raw_table_files__calls_rejected").fetchall() == [(0,)]


def test_file_that_no_manifest_names_is_not_read(con: duckdb.DuckDBPyConnection, tmp_path: Path):
    pulled = _pull(tmp_path, CALLS)
    file = pulled.landing.files[0].path
    file.with_name("f" * 32 + ".parquet").write_bytes(file.read_bytes())
    refresh_views(con, pulled.zone, [discover()["table_files"]])
    assert con.execute("select count(*) from raw.raw_table_files__calls").fetchall() == [(2,)]


def _with(connector: Connector, name: str) -> Connector:
    """The connector, grown by a column of whole numbers."""
    [entity] = connector.entities
    return replace(connector, entities=(replace(entity, schema=entity.schema.append(pa.field(name, pa.int64()))),))


def test_landings_of_before_a_column_came_lack_it(con: duckdb.DuckDBPyConnection, tmp_path: Path):
    connector = discover()["table_files"]
    pulled = _pull(tmp_path, CALLS)
    refresh_views(con, pulled.zone, [_with(connector, "seats_count")])
    rows = "select call_id, input_tokens, seats_count, event_date, typeof(event_date) from raw.raw_table_files__calls"
    assert sorted(con.execute(rows).fetchall()) == [
        ("a", 5, None, date(2026, 7, 1), "DATE"),
        ("b", 7, None, date(2026, 7, 2), "DATE"),
    ]
    refresh_views(con, pulled.zone, [connector])
    columns = [item[0] for item in con.execute("describe raw.raw_table_files__calls").fetchall()]
    assert columns == [*LANDING_COLUMNS.names, *connector.entities[0].schema.names, "event_date"]


def test_landings_of_before_and_after_a_column_came_stand_together(con: duckdb.DuckDBPyConnection, tmp_path: Path):
    """A column that is gone stays in the former files, and is not shown."""
    zone = LandingZone(tmp_path / "landing")
    for hour, names in enumerate((("kept", "gone"), ("kept", "new"))):
        records = pa.RecordBatch.from_pydict({name: pa.array([hour], pa.int64()) for name in names})
        batch = Batch("things", records, pa.array([0], pa.int64()), 1)
        inputs = [InputPull(f"{hour}", "", lambda: InputIdentity("", 1), lambda batch=batch: iter([batch]))]  # type: ignore[misc]
        entity = Entity("things", records.schema)
        connector = Connector("fake", "usage", (entity,), SourceOptions, lambda *_, inputs=inputs: iter(inputs))  # type: ignore[misc]
        now = datetime(2026, 10, 1, hour, tzinfo=UTC)
        pull_source(zone, connector, SourceOptions(name="feed", kind="fake"), now=now)
    refresh_views(con, zone, [connector])
    assert sorted(con.execute("select kept, new from raw.raw_fake__things").fetchall()) == [(0, None), (1, 1)]
    assert con.execute("select count(*) from raw.raw_fake__things_rejected").fetchall() == [(0,)]


def test_versions_of_before_a_column_came_lack_it_in_the_history(con: duckdb.DuckDBPyConnection, tmp_path: Path):
    _land_prices(tmp_path, "2.00", month=1)
    pulled = _land_prices(tmp_path, "3.00", month=2)
    connector = _with(discover()["contract_files"], "rank_index")
    refresh_views(con, pulled.zone, [connector])
    versions = f"""
        select cast(unit_price * 1000000 as integer), rank_index, month(superseded_at)
        from raw.{history_table(connector, connector.entities[0])} order by landed_at
    """
    assert con.execute(versions).fetchall() == [(2, None, 2), (3, None, None)]


def test_landings_are_mirrored_row_for_row_and_replaced(con: duckdb.DuckDBPyConnection, tmp_path: Path):
    pulled = _pull(tmp_path, CALLS)
    for _ in range(2):
        record_landings(con, pulled.zone.current())
    assert con.execute(
        "select source_name, feed, rows_read_count, rows_landed_count, rows_rejected_count, input_tokens "
        "from ops.landings"
    ).fetchall() == [("feed", "usage", 3, 2, 1, 12)]
    assert con.execute("select event_date, row_count from ops.landing_files order by event_date").fetchall() == [
        (date(2026, 7, 1), 1),
        (date(2026, 7, 2), 1),
    ]
    record_landings(con, [])
    assert con.execute("select count(*) from ops.landings").fetchall() == [(0,)]


def _land_prices(folder: Path, price: str, month: int) -> Pulled:
    path = folder / "terms.csv"
    path.write_text(f"{TERM_COLUMNS}\ncard,acme,m,unit_price,input,{price},2026-01-01,true,page\n", encoding="utf-8")
    return pull(folder, "contract_files", path=str(path), now=datetime(2026, month, 1, tzinfo=UTC))


def test_rate_card_has_a_view_of_all_its_versions_with_the_times_in_which_they_were_believed(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
):
    _land_prices(tmp_path, "2.00", month=1)
    pulled = _land_prices(tmp_path, "3.00", month=2)
    connector = discover()["contract_files"]
    [terms] = connector.entities
    refresh_views(con, pulled.zone, [connector])
    versions = f"""
        select cast(unit_price * 1000000 as integer), month(landed_at), month(superseded_at)
        from raw.{history_table(connector, terms)} order by landed_at
    """
    assert con.execute(versions).fetchall() == [(2, 1, 2), (3, 2, None)]
    assert con.execute(f"select count(*) from raw.{raw_table(connector, terms)}").fetchone() == (1,)


def test_withdrawn_version_stays_in_the_history(con: duckdb.DuckDBPyConnection, tmp_path: Path):
    pulled = _land_prices(tmp_path, "2.00", month=1)
    connector = discover()["contract_files"]
    [terms] = connector.entities
    pulled.zone.withdraw("contract_files", "feed", now=datetime(2026, 3, 1, tzinfo=UTC))
    refresh_views(con, pulled.zone, [connector])
    times = f"select month(landed_at), month(superseded_at) from raw.{history_table(connector, terms)}"
    assert con.execute(times).fetchall() == [(1, 3)]
    assert con.execute(f"select count(*) from raw.{raw_table(connector, terms)}").fetchone() == (0,)
