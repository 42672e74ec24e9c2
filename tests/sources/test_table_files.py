"""Tables of calls: mapping, typing, rejects by row, and real traces whose sums are published."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from dagster_project.sources.table_files import TableFilesOptions
from dagster_project.warehouse.landing import Landing
from tests.sources.pulling import FIXTURES, SHARED_DATA, Pulled, pull

CSV = {
    "path": str(FIXTURES / "calls" / "calls.csv"),
    "format": "csv",
    "input_includes_cache": True,
    "constants": {"provider_name": "openai", "turn_index": 1},
    "columns": {
        "event_at": "when",
        "call_id": "ref",
        "model_name": "model",
        "input_tokens": "in",
        "cache_read_tokens": "cached",
        "output_tokens": "out",
        "latency_ms": "took",
        "is_success": "ok",
    },
}
needs_shared_data = pytest.mark.skipif(not SHARED_DATA.exists(), reason="../shared/data is absent")


@pytest.fixture
def calls(tmp_path: Path) -> Pulled:
    return pull(tmp_path, "table_files", **CSV)


def test_table_files_lands_readable_records_and_rejects_the_others(calls: Pulled):
    landing = calls.landing
    assert (landing.rows_read, landing.rows_landed, landing.rows_rejected) == (9, 4, 5)
    assert [row["record_index"] for row in calls.rows()] == [0, 1, 2, 7]
    assert calls.reasons() == {
        3: "value_unparsable",
        4: "value_unparsable",
        5: "value_unparsable",
        6: "value_missing",
        8: "field_count_wrong",
    }


def test_table_files_reject_names_every_bad_column_and_keeps_the_whole_record(calls: Pulled):
    two_bad = calls.rejects()[2]
    assert two_bad["reason"] == "is_success: 'ok' is not true or false; input_tokens: 'in' is not a whole number"
    assert orjson.loads(two_bad["raw_text"])["note"] == "two bad values"
    assert calls.rejects()[4]["raw_text"].startswith("2026-07-02T12:00:00Z,a-9")


def test_table_files_reads_instants_of_any_zone_as_utc(calls: Pulled):
    assert [row["event_at"] for row in calls.rows()[:3]] == [
        datetime(2026, 7, 1, 23, 59, 59, 999000, tzinfo=UTC),
        datetime(2026, 7, 2, tzinfo=UTC),
        datetime(2026, 7, 2, tzinfo=UTC),
    ]
    assert [(str(file.event_date), file.rows) for file in calls.landing.files] == [
        ("2026-07-01", 1),
        ("2026-07-02", 3),
    ]


def test_table_files_keeps_values_as_reported(calls: Pulled):
    first, second, _, negative = calls.rows()
    assert (first["input_tokens"], first["cache_read_tokens"], first["output_tokens"]) == (1000, 800, 100)
    assert second["cache_read_tokens"] is None
    assert negative["input_tokens"] == -5
    assert (calls.landing.tokens_in, calls.landing.tokens_out) == (1000 + 1445 + 61 - 5, 100 + 220 + 6 + 1)


def test_table_files_fills_constants_and_defaults(calls: Pulled):
    first, _, without_id, _ = calls.rows()
    assert (first["provider_name"], first["turn_index"], first["operation_name"]) == ("openai", 1, "chat")
    assert first["input_includes_cache"] is True
    sha256 = hashlib.sha256(Path(CSV["path"]).read_bytes()).hexdigest()
    assert (first["call_id"], without_id["call_id"]) == ("a-1", f"{sha256[:16]}:2")


def test_table_files_name_calls_without_an_id_by_what_the_file_holds(tmp_path: Path):
    head, call = "at,tokens\n", "2026-07-01T10:00:00Z,"
    for folder, tokens in [("eu", 5), ("us", 7), ("eu_again", 5)]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "calls.csv").write_text(f"{head}{call}{tokens}\n{call}{tokens}\n", encoding="utf-8")
    columns = {"event_at": "at", "input_tokens": "tokens"}
    pulled = pull(tmp_path, "table_files", path=str(tmp_path / "*" / "calls.csv"), format="csv", columns=columns)
    tables = [
        pq.read_table(file.path, partitioning=None)
        for landing in pulled.results
        if isinstance(landing, Landing)
        for file in landing.files
    ]
    ids: dict[str, list[str]] = {}
    for row in pa.concat_tables(tables).to_pylist():
        ids.setdefault(Path(row["input_uri"]).parent.name, []).append(row["call_id"])
    # Files of one name are two pairs of calls; the file that was delivered again under another path is the same pair.
    assert len({*ids["eu"], *ids["us"]}) == 4
    assert ids["eu_again"] == ids["eu"]


def test_table_files_keeps_unmapped_columns_when_asked(tmp_path: Path):
    pulled = pull(tmp_path, "table_files", **CSV, keep_unmapped=True)
    assert orjson.loads(pulled.rows()[1]["attributes_json"]) == {"note": "two\nlines, and a comma"}


def test_table_files_reads_json_lines_with_nested_and_mixed_values(tmp_path: Path):
    pulled = pull(
        tmp_path,
        "table_files",
        path=str(FIXTURES / "calls" / "calls.jsonl"),
        format="jsonl",
        timestamp={"format": "unix_ms"},
        keep_unmapped=True,
        columns={
            "event_at": "at",
            "call_id": "id",
            "model_name": "model",
            "input_tokens": "usage.prompt",
            "output_tokens": "usage.completion",
        },
    )
    rows = pulled.rows()
    assert [(row["call_id"], row["input_tokens"], row["output_tokens"]) for row in rows] == [
        ("j-1", 10, 2),
        ("j-2", 20, None),
    ]
    assert rows[1]["event_at"] == datetime(2026, 7, 1, 0, 0, 0, 500000, tzinfo=UTC)
    assert orjson.loads(orjson.loads(rows[1]["attributes_json"])["extra"]) == {"k": [1]}
    assert pulled.reasons() == {
        2: "value_unparsable",
        3: "json_broken",
        4: "json_not_an_object",
        5: "value_missing",
    }
    assert pulled.landing.rows_read == 6


def test_table_files_casts_parquet_types_and_rejects_by_row(tmp_path: Path):
    table = pa.table(
        {
            "t": pa.array([1782864000 * 10**9, None, 1783036800 * 10**9], pa.timestamp("ns")),
            "n": pa.array([1.0, 2.0, 2.5]),
            "m": pa.array(["a", "b", "a"]).dictionary_encode(),
            "big": pa.array([2**63, 1, 1], pa.uint64()),
            "other": [[1], [2], [3]],
        }
    )
    pq.write_table(table, tmp_path / "calls.parquet")
    pulled = pull(
        tmp_path,
        "table_files",
        path=str(tmp_path / "calls.parquet"),
        format="parquet",
        columns={"event_at": "t", "input_tokens": "n", "model_name": "m", "output_tokens": "big"},
    )
    assert pulled.reasons() == {0: "value_unparsable", 1: "value_missing", 2: "value_unparsable"}
    assert orjson.loads(pulled.rejects()[2]["raw_text"])["other"] == [3]
    assert pulled.landing.files == ()


def test_table_files_numbers_records_across_row_groups_and_batches(tmp_path: Path):
    count = 300_000
    seconds = pa.array(range(count), pa.int64())
    bad = pc.equal(pc.bit_wise_and(seconds, 65535), 65535)
    tokens = pc.if_else(bad, "x", seconds.cast(pa.string()))
    pq.write_table(pa.table({"s": seconds, "n": tokens}), tmp_path / "a.parquet", row_group_size=200_000)
    pulled = pull(
        tmp_path,
        "table_files",
        path=str(tmp_path / "a.parquet"),
        format="parquet",
        timestamp={"format": "relative_ms", "origin": "2026-07-01T00:00:00Z"},
        columns={"event_at": "s", "input_tokens": "n"},
    )
    expected_bad = [65535, 131071, 196607, 262143]
    assert [record["record_index"] for record in pulled.rejects()] == expected_bad
    assert orjson.loads(pulled.rejects()[3]["raw_text"]) == {"s": 262143, "n": "x"}
    assert pulled.landing.tokens_in == count * (count - 1) // 2 - sum(expected_bad)
    assert all(row["input_tokens"] == row["record_index"] for row in pulled.rows())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"columns": {"input_tokens": "in"}}, "event_at must be mapped"),
        ({"columns": {"event_at": {"constant": "2026-07-01"}}}, "event_at must be mapped"),
        (
            {"columns": {"event_at": "when", "tokens": "in"}},
            "unknown canonical column; known: event_at, call_id",
        ),
        ({"columns": {"event_at": "when", "cache_read_tokens": "c"}}, "say by 'input_includes_cache'"),
        ({"columns": {"event_at": "when", "reasoning_tokens": "r"}}, "say by 'output_includes_reasoning'"),
        ({"columns": {"event_at": "when"}, "constants": {"turn_index": "one"}}, "turn_index cannot be read"),
        ({"columns": {"event_at": "when"}, "timestamp": {"format": "relative_ms"}}, "'origin' is needed"),
    ],
)
def test_table_files_options_refuse_a_mapping_that_cannot_hold(change: dict[str, object], words: str):
    with pytest.raises(ValidationError, match=words):
        TableFilesOptions.model_validate(
            {"name": "feed", "kind": "table_files", "path": "x.csv", "format": "csv", **change}
        )


@needs_shared_data
def test_table_files_lands_the_azure_trace_with_its_published_sums(tmp_path: Path):
    landing = pull(
        tmp_path,
        "table_files",
        path=str(SHARED_DATA / "azure_llm_2023" / "*.csv"),
        format="csv",
        columns={
            "event_at": "TIMESTAMP",
            "input_tokens": "ContextTokens",
            "output_tokens": "GeneratedTokens",
        },
    ).landing
    assert (landing.rows_read, landing.rows_landed, landing.rows_rejected) == (19_366, 19_366, 0)
    assert (landing.tokens_in, landing.tokens_out) == (22_361_870, 4_088_665)
    assert landing.min_event_at == datetime(2023, 11, 16, 18, 15, 46, 680590, tzinfo=UTC)
    assert landing.max_event_at is not None
    assert landing.max_event_at.strftime("%H:%M") == "19:14"


@needs_shared_data
def test_table_files_lands_the_mooncake_trace_from_relative_milliseconds(tmp_path: Path):
    pulled = pull(
        tmp_path,
        "table_files",
        path=str(SHARED_DATA / "mooncake" / "conversation_trace.jsonl"),
        format="jsonl",
        timestamp={"format": "relative_ms", "origin": "2024-06-01T00:00:00Z"},
        columns={"event_at": "timestamp", "input_tokens": "input_length", "output_tokens": "output_length"},
    )
    assert (pulled.landing.rows_landed, pulled.landing.rows_rejected) == (12_031, 0)
    assert pulled.landing.min_event_at == datetime(2024, 6, 1, tzinfo=UTC)
    assert (pulled.rows()[0]["input_tokens"], pulled.rows()[0]["output_tokens"]) == (6758, 500)
