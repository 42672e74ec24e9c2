"""Every way an input can be bad, and what happens: its own clear failure, or rejects; nothing is lost.

The two tables are the specification. A failure stops only its input, which a good input beside it shows; for
rejects, records read are records landed plus records rejected.
"""

import gzip
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from dagster_project.sources import _files
from dagster_project.warehouse.landing import Landing, SourceFailure
from tests.sources.pulling import Pulled, pull

SPAN = {
    "traceId": "5b8efff798038103d269b633813fc60c",
    "spanId": "eee19b7ec3c1b174",
    "name": "chat",
    "startTimeUnixNano": "1782864000000000000",
}
CALLS_CSV = b"t,n\n2026-07-01T10:00:00Z,1\n2026-07-01T11:00:00Z,2\n"
COLUMNS = {"event_at": "t", "input_tokens": "n"}


def _spans(*spans: dict[str, Any]) -> bytes:
    export = {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}
    return orjson.dumps(export) + b"\n"


def _tokens(value: dict[str, Any]) -> dict[str, Any]:
    return {**SPAN, "attributes": [{"key": "gen_ai.usage.input_tokens", "value": value}]}


def _parquet(columns: dict[str, Any]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


INSTANTS = [datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 7, 2, tzinfo=UTC)]
PARQUET = _parquet({"t": INSTANTS, "n": [1, 2]})
OTLP: dict[str, Any] = {"kind": "otlp_files"}
CSV: dict[str, Any] = {"kind": "table_files", "format": "csv", "columns": COLUMNS}
JSONL: dict[str, Any] = {**CSV, "format": "jsonl"}
TABLE: dict[str, Any] = {**CSV, "format": "parquet"}
FOCUS: dict[str, Any] = {"kind": "focus_files"}
TERMS: dict[str, Any] = {"kind": "contract_files"}
GOOD = {
    "otlp_files": ("good.jsonl", _spans(SPAN)),
    "csv": ("good.csv", CALLS_CSV),
    "jsonl": ("good.jsonl", b'{"t": "2026-07-01", "n": 1}\n'),
    "parquet": ("good.parquet", PARQUET),
    "focus_files": (
        "good.csv",
        b"BilledCost,ChargePeriodStart,ChargePeriodEnd,BillingCurrency\n1,2026-07-01,2026-07-02,USD\n",
    ),
    "contract_files": (
        "good.csv",
        b"contract_id,provider_name,term_type,discount_share,valid_from\nC,openai,percentage_discount,0.1,2026-07-01\n",
    ),
}

FAILURES: dict[str, tuple[dict[str, Any], str, bytes, str]] = {
    "gzip name, plain content": (
        OTLP,
        "bad.jsonl.gz",
        _spans(SPAN),
        "its name says gzip, its first bytes are 7b 22",
    ),
    "plain name, gzip content": (
        OTLP,
        "bad.jsonl",
        gzip.compress(_spans(SPAN)),
        "its name says uncompressed",
    ),
    "zstd name, gzip content": (OTLP, "bad.jsonl.zst", gzip.compress(_spans(SPAN)), "1f 8b 08 00 (gzip)"),
    "truncated gzip": (
        OTLP,
        "bad.jsonl.gz",
        gzip.compress(_spans(SPAN) * 50)[:-20],
        "Truncated compressed stream",
    ),
    "truncated zstd": (
        OTLP,
        "bad.jsonl.zst",
        zstandard.compress(_spans(SPAN) * 50)[:-9],
        "Truncated compressed stream",
    ),
    "damaged gzip": (OTLP, "bad.jsonl.gz", gzip.compress(_spans(SPAN))[:20] + b"\xff" * 30, "zlib"),
    "truncated gzip of CSV": (
        CSV,
        "bad.csv.gz",
        gzip.compress(CALLS_CSV * 50)[:-20],
        "Truncated compressed stream",
    ),
    "UTF-16 lines": (OTLP, "bad.jsonl", "{}\n".encode("utf-16"), "byte order mark ff fe"),
    "UTF-16 CSV": (CSV, "bad.csv", CALLS_CSV.decode().encode("utf-16"), "byte order mark ff fe"),
    "UTF-16 contract": (TERMS, "bad.csv", "contract_id\n".encode("utf-16"), "byte order mark ff fe"),
    "latin-1 CSV": (
        CSV,
        "bad.csv",
        CALLS_CSV + "2026-07-01,été\n".encode("latin-1"),
        "can't decode byte 0xe9",
    ),
    "empty CSV": (CSV, "bad.csv", b"", "it is empty, expected a header line"),
    "empty Parquet": (TABLE, "bad.parquet", b"", "as Parquet (0 bytes)"),
    "truncated Parquet": (TABLE, "bad.parquet", PARQUET[:-30], "as Parquet"),
    "Parquet that is CSV": (TABLE, "bad.parquet", CALLS_CSV, "as Parquet"),
    "Parquet with a damaged page": (
        TABLE,
        "bad.parquet",
        PARQUET[:4] + b"\xff" * 60 + PARQUET[64:],
        "bad.parquet",
    ),
    "unknown columns": (
        CSV,
        "bad.csv",
        b"time,n\n2026-07-01,1\n",
        "column 't' is absent, the file has 'time', 'n'",
    ),
    "unknown columns in Parquet": (TABLE, "bad.parquet", _parquet({"t": INSTANTS}), "column 'n' is absent"),
    "a column twice": (CSV, "bad.csv", b"t,n,n\n2026-07-01,1,2\n", "column 'n' occurs more than once"),
    "changed type": (
        TABLE,
        "bad.parquet",
        _parquet({"t": INSTANTS, "n": [[1], [2]]}),
        "column 'n' has type list<element: int64>, expected a whole number for input_tokens",
    ),
    "numbers where text times were": (
        TABLE,
        "bad.parquet",
        _parquet({"t": [1, 2], "n": [1, 2]}),
        "expected ISO 8601 text or timestamps",
    ),
    "not a FOCUS file": (FOCUS, "bad.csv", CALLS_CSV, "column BilledCost, ChargePeriodStart"),
    "empty contract": (TERMS, "bad.csv", b"", "is absent"),
}

REJECTS: dict[str, tuple[dict[str, Any], str, bytes, int, dict[int, str]]] = {
    "empty lines file": (OTLP, "bad.jsonl", b"", 0, {}),
    "broken JSON line": (OTLP, "bad.jsonl", b'{"resourceSpans": [\n' + _spans(SPAN), 1, {0: "json_broken"}),
    "line cut by a writer at work": (
        OTLP,
        "bad.jsonl",
        _spans(SPAN) + _spans(SPAN)[:40],
        1,
        {1: "json_broken"},
    ),
    "latin-1 line": (OTLP, "bad.jsonl", b'{"a": "\xe9"}\n' + _spans(SPAN), 1, {0: "encoding_wrong"}),
    "JSON that is no export": (
        OTLP,
        "bad.jsonl",
        b"17\n{}\n" + _spans(SPAN),
        1,
        {0: "json_not_an_object", 1: "shape_wrong"},
    ),
    "metrics among traces": (OTLP, "bad.jsonl", b'{"resourceMetrics": []}\n', 0, {0: "shape_wrong"}),
    "misshapen resource": (
        OTLP,
        "bad.jsonl",
        b'{"resourceSpans": [{"scopeSpans": 5}, 7]}\n',
        0,
        {0: "shape_wrong", 1: "shape_wrong"},
    ),
    "misshapen span": (OTLP, "bad.jsonl", _spans(SPAN, {**SPAN, "attributes": [5]}), 1, {1: "shape_wrong"}),
    "text in a number": (
        OTLP,
        "bad.jsonl",
        _spans(_tokens({"stringValue": "ten"}), SPAN),
        1,
        {0: "value_unparsable"},
    ),
    "fraction in a count": (
        OTLP,
        "bad.jsonl",
        _spans(_tokens({"doubleValue": 1.5})),
        0,
        {0: "value_unparsable"},
    ),
    "NaN in a count": (
        OTLP,
        "bad.jsonl",
        _spans(_tokens({"doubleValue": "NaN"})),
        0,
        {0: "value_unparsable"},
    ),
    "count beyond 64 bits": (
        OTLP,
        "bad.jsonl",
        _spans(_tokens({"intValue": str(2**63)})),
        0,
        {0: "value_unparsable"},
    ),
    "bad timestamp": (
        OTLP,
        "bad.jsonl",
        _spans({**SPAN, "startTimeUnixNano": "x"}),
        0,
        {0: "value_unparsable"},
    ),
    "seconds for nanoseconds": (
        OTLP,
        "bad.jsonl",
        _spans({**SPAN, "startTimeUnixNano": "1782864000"}),
        0,
        {0: "value_unparsable"},
    ),
    "no timestamp": (OTLP, "bad.jsonl", _spans({**SPAN, "startTimeUnixNano": "0"}), 0, {0: "value_missing"}),
    "no span id": (OTLP, "bad.jsonl", _spans({**SPAN, "spanId": ""}), 0, {0: "value_missing"}),
    "text in a number of CSV": (CSV, "bad.csv", CALLS_CSV + b"2026-07-01,many\n", 2, {2: "value_unparsable"}),
    "bad timestamp in CSV": (
        CSV,
        "bad.csv",
        CALLS_CSV + b"2026-02-30,1\nyesterday,1\n",
        2,
        {2: "value_unparsable", 3: "value_unparsable"},
    ),
    "no timestamp in CSV": (CSV, "bad.csv", CALLS_CSV + b",1\n", 2, {2: "value_missing"}),
    "time far off in CSV": (
        CSV,
        "bad.csv",
        b"t,n\n0001-01-01,1\n9999-01-01,1\n",
        0,
        {0: "value_unparsable", 1: "value_unparsable"},
    ),
    "fields missing and surplus": (
        CSV,
        "bad.csv",
        b"t,n\nx\n2026-07-01,1\n1,2,3\n2026-07-02,1\n",
        2,
        {0: "field_count_wrong", 2: "field_count_wrong"},
    ),
    "header only": (CSV, "bad.csv", b"t,n\n", 0, {}),
    "byte order mark of UTF-8": (CSV, "bad.csv", b"\xef\xbb\xbf" + CALLS_CSV, 2, {}),
    "broken JSON record": (
        JSONL,
        "bad.jsonl",
        b'{"t": "2026-07-01"\n{"t": "2026-07-01"}\n',
        1,
        {0: "json_broken"},
    ),
    "types that change within a file": (
        JSONL,
        "bad.jsonl",
        b'{"t":"2026-07-01","n":1}\n{"t":"2026-07-01","n":"2"}\n{"t":"2026-07-01","n":[3]}\n',
        2,
        {2: "value_unparsable"},
    ),
    "Parquet without rows": (
        TABLE,
        "bad.parquet",
        _parquet({"t": pa.array([], pa.timestamp("us")), "n": pa.array([], pa.int64())}),
        0,
        {},
    ),
    "text in a number of Parquet": (
        TABLE,
        "bad.parquet",
        _parquet({"t": INSTANTS, "n": ["1", "one"]}),
        1,
        {1: "value_unparsable"},
    ),
}


def _pull_beside_a_good_one(folder: Path, options: dict[str, Any], name: str, content: bytes) -> Pulled:
    feeds = folder / "feeds"
    feeds.mkdir()
    (feeds / name).write_bytes(content)
    good_name, good_content = GOOD[options.get("format", options["kind"])]
    (feeds / good_name).write_bytes(good_content)
    return pull(folder, path=str(feeds / "*"), **options)


@pytest.mark.parametrize("case", FAILURES)
def test_bad_input_fails_alone_with_a_clear_message(tmp_path: Path, case: str):
    options, name, content, words = FAILURES[case]
    bad, good = _pull_beside_a_good_one(tmp_path, options, name, content).results
    assert isinstance(bad, SourceFailure)
    assert words in bad.message
    assert str(bad.input_uri).endswith(name)
    assert name in bad.message
    assert not bad.is_transient
    assert isinstance(good, Landing)
    assert good.rows_landed > 0


@pytest.mark.parametrize("case", REJECTS)
def test_bad_record_is_kept_with_its_reason_and_the_others_land(tmp_path: Path, case: str):
    options, name, content, landed, reasons = REJECTS[case]
    pulled = _pull_beside_a_good_one(tmp_path, options, name, content)
    bad, good = (Pulled(pulled.zone, [item]) for item in pulled.results)
    assert bad.landing.input_uri.endswith(name)
    assert bad.landing.rows_landed == landed == len(bad.rows())
    assert bad.reasons() == reasons
    assert bad.landing.rows_read == landed + len(reasons)
    assert all(reject["raw_text"] and reject["reason"] for reject in bad.rejects())
    assert good.landing.rows_rejected == 0


@pytest.mark.parametrize("path", ["feeds/absent.jsonl", "feeds/*.jsonl", "absent/**/*.jsonl"])
def test_missing_file_is_a_failure_that_names_the_path(tmp_path: Path, path: str):
    failure = pull(tmp_path, "otlp_files", path=str(tmp_path / path)).failure
    assert "no file matches, expected at least one" in failure.message
    assert path in failure.message
    assert (failure.input_uri, failure.is_transient) == (None, False)


def test_unreadable_file_is_a_permanent_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.jsonl").write_bytes(_spans(SPAN))

    def deny(_: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_files, "sha256_of", deny)
    failure = pull(tmp_path, "otlp_files", path=str(tmp_path / "a.jsonl")).failure
    assert "Permission denied" in failure.message
    assert not failure.is_transient


def test_storage_that_does_not_answer_is_a_transient_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.jsonl").write_bytes(_spans(SPAN))

    def fail(_: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(_files, "sha256_of", fail)
    assert pull(tmp_path, "otlp_files", path=str(tmp_path / "a.jsonl")).failure.is_transient


def _grow(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(_spans(SPAN))


def _overwrite_in_place(path: Path) -> None:
    """Change one byte and put the times back, as a sync tool may do."""
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"chat", b"chap"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize("change", [_grow, _overwrite_in_place, _replace, Path.unlink])
def test_file_that_changes_while_it_is_read_is_a_transient_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
):
    path = tmp_path / "a.jsonl"
    path.write_bytes(_spans(SPAN))
    read = _files.text_lines

    def disturbed(*arguments: Any, **options: Any) -> Iterator[Any]:  # noqa: ANN401 - passed on
        yield from read(*arguments, **options)
        change(path)

    monkeypatch.setattr("dagster_project.sources.otlp_files.text_lines", disturbed)
    pulled = pull(tmp_path, "otlp_files", path=str(path))
    assert pulled.failure.is_transient
    assert "while it was read" in pulled.failure.message or "vanished" in pulled.failure.message
    assert pulled.zone.current() == []
    monkeypatch.undo()
    path.write_bytes(_spans(SPAN))
    assert pull(tmp_path, "otlp_files", path=str(path)).landing.rows_landed == 1


def test_file_that_shrinks_to_bad_content_keeps_its_former_landing(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_bytes(CALLS_CSV)
    first = pull(tmp_path, path=str(path), **CSV).landing
    path.write_bytes(b"")
    pulled = pull(tmp_path, path=str(path), **CSV, now=datetime(2026, 10, 2, tzinfo=UTC))
    assert "it is empty" in pulled.failure.message
    assert pulled.zone.current() == [first]


def test_record_too_long_for_memory_is_rejected_and_the_next_line_lands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dagster_project.sources.otlp_files.LINE_LIMIT_BYTES", 2_000_000)
    (tmp_path / "a.jsonl").write_bytes(b'{"a": "' + b"x" * 5_000_000 + b'"}\n' + _spans(SPAN))
    pulled = pull(tmp_path, "otlp_files", path=str(tmp_path / "a.jsonl"))
    assert (pulled.landing.rows_landed, pulled.reasons()) == (1, {0: "line_too_long"})
    assert orjson.loads(pulled.rejects()[0]["raw_text"])["read_bytes"] == 2_000_000


def test_batches_of_a_bad_file_are_not_left_in_the_landing_zone(tmp_path: Path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(os.urandom(10) + _spans(SPAN) * 20_000)[:-12])
    pulled = pull(tmp_path, "otlp_files", path=str(tmp_path / "a.jsonl.gz"))
    assert isinstance(pulled.failure, SourceFailure)
    assert list(pulled.zone.root.rglob("*.parquet")) == []
