"""The landing zone: the manifest is the commit, nothing is overwritten, unchanged input is left alone."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_project.errors import PermanentSourceError, TransientSourceError
from dagster_project.sources._connector import (
    UTC_TIMESTAMP,
    Batch,
    Connector,
    Entity,
    InputIdentity,
    InputPull,
    LandedInput,
    PullContext,
    Reject,
    SourceOptions,
    hashed_user,
)
from dagster_project.sources.table_files import TableFilesOptions
from dagster_project.sources.table_files import connector as table_files
from dagster_project.warehouse import landing as landing_module
from dagster_project.warehouse.landing import Landing, LandingZone, SourceFailure, pull_source

NOW = datetime(2026, 10, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
ENTITY = Entity(
    "things",
    pa.schema([("at", UTC_TIMESTAMP), ("tokens", pa.int64()), ("more", pa.int64()), ("usd", pa.decimal128(38, 18))]),
    day_column="at",
    token_columns=("tokens", "more"),
    amount_columns=("usd",),
)
OPTIONS = SourceOptions(name="feed", kind="fake")


def _batch(instants: list[datetime], first_index: int = 0, rejects: tuple[Reject, ...] = ()) -> Batch:
    rows = len(instants)
    records = pa.RecordBatch.from_arrays(
        [
            pa.array(instants, UTC_TIMESTAMP),
            pa.array([10] * rows, pa.int64()),
            pa.array([None] * rows, pa.int64()),
            pa.array([Decimal("0.1")] * rows, pa.decimal128(38, 18)),
        ],
        schema=ENTITY.schema,
    )
    indices = pa.array(range(first_index, first_index + rows), pa.int64())
    return Batch("things", records, indices, rows + len(rejects), rejects)


def _connector(
    inputs: dict[str, Callable[[], Iterator[Batch]]],
    entity: Entity = ENTITY,
    version: int = 1,
    *,
    is_snapshot: bool = False,
) -> Connector:
    def read(_: SourceOptions, __: PullContext) -> Iterator[InputPull]:
        for uri, batches in inputs.items():
            sha256 = hashlib.sha256(repr((uri, batches)).encode()).hexdigest()
            yield InputPull(uri, "", lambda sha256=sha256: InputIdentity(sha256, 1), batches)  # type: ignore[misc]

    return Connector("fake", "usage", (entity,), SourceOptions, read, version, is_snapshot)


def _hours(count: int, start: datetime = NOW) -> list[datetime]:
    return [start + timedelta(hours=hour) for hour in range(count)]


@pytest.fixture
def zone(tmp_path: Path) -> LandingZone:
    return LandingZone(tmp_path / "landing")


@pytest.fixture
def calls_csv(tmp_path: Path) -> Path:
    path = tmp_path / "feeds" / "calls.csv"
    path.parent.mkdir()
    path.write_text("t,n\n2026-07-01T10:00:00Z,1\n2026-07-02T10:00:00Z,2\n", encoding="utf-8")
    return path


def _options(folder: Path, **more: object) -> TableFilesOptions:
    content = {"name": "calls", "kind": "table_files", "path": "{feeds}/*.csv", "format": "csv", **more}
    columns = {"columns": {"event_at": "t", "input_tokens": "n"}}
    context = {"feeds_dir": folder / "feeds", "config_dir": folder}
    return TableFilesOptions.model_validate(content | columns, context=context)


def _only(results: list[Landing | SourceFailure]) -> Landing:
    [landing] = results
    assert isinstance(landing, Landing), landing
    return landing


def test_landing_splits_records_by_utc_day_and_keeps_their_order(zone: LandingZone):
    instants = _hours(30)[::-1]
    landing = _only(pull_source(zone, _connector({"a": lambda: iter([_batch(instants)])}), OPTIONS, now=NOW))
    assert [(file.event_date, file.rows) for file in landing.files] == [
        (date(2026, 10, 1), 24),
        (date(2026, 10, 2), 6),
    ]
    for file in landing.files:
        table = pq.read_table(file.path, partitioning=None)
        assert table.column_names[:4] == ["source_name", "landed_at", "input_uri", "record_index"]
        indices = table.column("record_index").to_pylist()
        assert indices == sorted(indices)
    assert landing.event_dates == {date(2026, 10, 1), date(2026, 10, 2)}


def test_landing_names_files_by_their_content(zone: LandingZone):
    landing = _only(pull_source(zone, _connector({"a": lambda: iter([_batch(_hours(2))])}), OPTIONS, now=NOW))
    [file] = landing.files
    digest = hashlib.sha256(file.path.read_bytes()).hexdigest()
    assert (file.sha256, file.path.stem, file.bytes) == (digest, digest[:32], file.path.stat().st_size)
    assert file.path.relative_to(zone.root).parts[:3] == ("fake", "things", "event_date=2026-10-01")


def test_landing_adds_up_tokens_and_money_exactly(zone: LandingZone):
    batches = [_batch(_hours(3)), _batch(_hours(2), 3)]
    landing = _only(pull_source(zone, _connector({"a": lambda: iter(batches)}), OPTIONS, now=NOW))
    assert (landing.tokens_in, landing.tokens_out) == (50, 0)
    assert Decimal(landing.amounts["usd"]) == Decimal("0.5")
    assert (landing.min_event_at, landing.max_event_at) == (NOW, NOW + timedelta(hours=2))


def test_landing_sums_beyond_64_bits():
    values = pa.array([2**62, 2**62, 2**62, None])
    assert landing_module._exact_sum(values) == 3 * 2**62


def test_landing_manifest_survives_a_move_of_the_state_directory(zone: LandingZone, tmp_path: Path):
    before = _only(pull_source(zone, _connector({"a": lambda: iter([_batch(_hours(2))])}), OPTIONS, now=NOW))
    shutil.move(zone.root, tmp_path / "elsewhere")
    [after] = LandingZone(tmp_path / "elsewhere").current()
    assert after.files[0].path.is_file()
    assert replace(after, files=()) == replace(before, files=())


def test_landing_of_unchanged_input_is_left_alone(zone: LandingZone, calls_csv: Path, tmp_path: Path):
    first = pull_source(zone, table_files, _options(tmp_path), now=NOW)
    files = sorted(zone.root.rglob("*"))
    calls_csv.touch()
    assert pull_source(zone, table_files, _options(tmp_path), now=LATER) == first
    assert sorted(zone.root.rglob("*")) == files
    assert _only(first).input_uri == "feeds/calls.csv"


def test_landing_of_changed_input_supersedes_the_former_one(zone: LandingZone, calls_csv: Path, tmp_path: Path):
    first = _only(pull_source(zone, table_files, _options(tmp_path), now=NOW))
    calls_csv.write_text("t,n\n2026-07-02T10:00:00Z,5\n2026-07-03T10:00:00Z,6\n", encoding="utf-8")
    second = _only(pull_source(zone, table_files, _options(tmp_path), now=LATER))
    assert second.supersedes == first.landing_id
    assert zone.current() == [second]
    assert zone.all() == [first, second]
    assert zone.file_paths("table_files", "calls") == [file.path for file in second.files]
    assert first.files[0].path.is_file()
    assert zone.touched_dates(second) == {date(2026, 7, day) for day in (1, 2, 3)}


def test_landing_of_input_that_returns_to_a_former_content_is_current_again(
    zone: LandingZone, calls_csv: Path, tmp_path: Path
):
    original = calls_csv.read_text(encoding="utf-8")
    landings = []
    for days, text in enumerate([original, original + "2026-07-03T10:00:00Z,3\n", original]):
        calls_csv.write_text(text, encoding="utf-8")
        now = NOW + timedelta(days=days)
        landings.append(_only(pull_source(zone, table_files, _options(tmp_path), now=now)))
    assert [landing.rows_landed for landing in landings] == [2, 3, 2]
    assert zone.current() == [landings[2]]


def test_landing_of_changed_options_reads_the_same_input_anew(zone: LandingZone, calls_csv: Path, tmp_path: Path):
    first = _only(pull_source(zone, table_files, _options(tmp_path), now=NOW))
    options = _options(tmp_path, constants={"provider_name": "openai"})
    second = _only(pull_source(zone, table_files, options, now=LATER))
    assert (second.supersedes, second.input_sha256) == (first.landing_id, first.input_sha256)
    assert calls_csv.is_file()


def test_landing_of_vanished_input_stays(zone: LandingZone, calls_csv: Path, tmp_path: Path):
    first = _only(pull_source(zone, table_files, _options(tmp_path), now=NOW))
    calls_csv.rename(calls_csv.with_name("other.csv"))
    pull_source(zone, table_files, _options(tmp_path), now=LATER)
    assert [landing.input_uri for landing in zone.current()] == ["feeds/calls.csv", "feeds/other.csv"]
    assert first in zone.current()


# ---- snapshots and withdrawals


def _hour() -> Iterator[Batch]:
    yield _batch(_hours(1))


def _day_of_hours() -> Iterator[Batch]:
    yield _batch(_hours(24))


def _fail() -> Iterator[Batch]:
    raise PermanentSourceError("unreadable")
    yield


def _known_at(zone: LandingZone, at: datetime) -> list[str]:
    """The inputs that counted at an instant, from the history alone."""
    landed = [item for item in zone.all() if item.landed_at <= at]
    superseded = {item.supersedes for item in landed}
    return [item.input_uri for item in landed if item.landing_id not in superseded and not item.is_withdrawal]


def test_landing_of_a_snapshot_withdraws_what_a_complete_pull_lists_no_more(zone: LandingZone):
    [first, other] = pull_source(zone, _connector({"v1": _hour, "x": _hour}, is_snapshot=True), OPTIONS, now=NOW)
    [second, same] = pull_source(
        zone, _connector({"v2": _day_of_hours, "x": _hour}, is_snapshot=True), OPTIONS, now=LATER
    )
    assert same == other
    assert zone.current() == [second, same]
    assert isinstance(first, Landing)
    [withdrawal] = [item for item in zone.all() if item.is_withdrawal]
    assert (withdrawal.supersedes, withdrawal.rows_read, withdrawal.landed_at) == (first.landing_id, 0, LATER)
    assert (_known_at(zone, NOW), _known_at(zone, LATER)) == (["v1", "x"], ["v2", "x"])
    assert pq.read_table(first.files[0].path, partitioning=None).num_rows == 1
    assert zone.sweep(now=LATER + timedelta(days=30)) == 0
    assert LandingZone(zone.root).current() == [second, same]


def test_landing_of_a_snapshot_that_returns_to_a_former_input_lands_it_anew(zone: LandingZone):
    for days, name in enumerate(["v1", "v2", "v1", "v1"]):
        now = NOW + timedelta(days=days)
        pull_source(zone, _connector({name: _hour}, is_snapshot=True), OPTIONS, now=now)
    assert [(item.input_uri, item.landed_at) for item in zone.current()] == [("v1", NOW + timedelta(days=2))]
    assert [_known_at(zone, NOW + timedelta(days=days)) for days in range(4)] == [["v1"], ["v2"], ["v1"], ["v1"]]


def test_landing_of_a_snapshot_that_is_not_complete_withdraws_nothing(zone: LandingZone):
    first = _only(pull_source(zone, _connector({"v1": _hour}, is_snapshot=True), OPTIONS, now=NOW))
    pull_source(zone, _connector({"v2": _fail}, is_snapshot=True), OPTIONS, now=LATER)
    assert zone.current() == [first]


def test_landings_of_a_snapshot_from_before_it_was_one_are_withdrawn_by_the_next_pull(zone: LandingZone):
    pull_source(zone, _connector({"v1": _hour}), OPTIONS, now=NOW)
    second = _only(pull_source(zone, _connector({"v2": _hour}), OPTIONS, now=LATER))
    assert len(zone.current()) == 2
    pull_source(zone, _connector({"v2": _hour}, is_snapshot=True), OPTIONS, now=LATER)
    assert zone.current() == [second]


def test_snapshot_of_one_source_leaves_other_sources_alone(zone: LandingZone):
    connector = _connector({"v1": _hour}, is_snapshot=True)
    pull_source(zone, connector, SourceOptions(name="other", kind="fake"), now=NOW)
    pull_source(zone, _connector({"v2": _hour}, is_snapshot=True), OPTIONS, now=LATER)
    assert [(item.source_name, item.input_uri) for item in zone.current()] == [("feed", "v2"), ("other", "v1")]


def test_withdrawing_a_source_ends_all_its_landings_once(zone: LandingZone):
    pull_source(zone, _connector({"a": _hour, "b": _hour}), OPTIONS, now=NOW)
    assert [item.input_uri for item in zone.withdraw("fake", "feed", now=LATER)] == ["a", "b"]
    assert (zone.current(), zone.withdraw("fake", "feed", now=LATER), zone.kinds()) == ([], [], ["fake"])
    again = _only(pull_source(zone, _connector({"a": _hour}), OPTIONS, now=LATER))
    assert zone.current() == [again]


def test_landing_goes_on_with_the_other_inputs_when_one_fails(zone: LandingZone):
    def broken() -> Iterator[Batch]:
        yield _batch(_hours(2))
        msg = "the second half is missing"
        raise TransientSourceError(msg)

    good = lambda: iter([_batch(_hours(1))])  # noqa: E731 - a reader
    results = pull_source(zone, _connector({"a": good, "b": broken, "c": good}), OPTIONS, now=NOW)
    assert [getattr(item, "input_uri", None) for item in results] == ["a", "b", "c"]
    failure = results[1]
    assert isinstance(failure, SourceFailure)
    assert (failure.is_transient, failure.message) == (True, "the second half is missing")
    assert [landing.input_uri for landing in zone.current()] == ["a", "c"]
    assert not list((zone.root / "_tmp").rglob("*.parquet"))


def test_an_error_that_nobody_foresaw_fails_its_input_alone_and_its_text_is_not_said(zone: LandingZone):
    def faulty() -> Iterator[Batch]:
        yield from ()
        msg = "sk-secret"
        raise KeyError(msg)

    results = pull_source(zone, _connector({"a": faulty, "b": lambda: iter([_batch(_hours(1))])}), OPTIONS, now=NOW)
    failure = results[0]
    assert isinstance(failure, SourceFailure)
    assert failure.message.startswith("Read a: KeyError at landing.py:")
    assert not failure.is_transient
    assert "sk-secret" not in repr(results)
    assert [landing.input_uri for landing in zone.current()] == ["b"]


def test_an_error_that_nobody_foresaw_while_inputs_are_listed_fails_the_source(zone: LandingZone):
    def read(_: SourceOptions, __: PullContext) -> Iterator[InputPull]:
        raise KeyError

    connector = Connector("fake", "usage", (ENTITY,), SourceOptions, read)
    [failure] = pull_source(zone, connector, OPTIONS, now=NOW)
    assert isinstance(failure, SourceFailure)
    assert failure.input_uri is None
    assert failure.message.startswith("Read the inputs of feed: KeyError at landing.py:")


def test_landing_refuses_a_batch_that_loses_rows(zone: LandingZone):
    losing = replace(_batch(_hours(2)), rows_read=3)
    [failure] = pull_source(zone, _connector({"a": lambda: iter([losing])}), OPTIONS, now=NOW)
    assert isinstance(failure, SourceFailure)
    assert "3 rows read, but 2 readable and 0 rejected" in failure.message


def test_landing_refuses_a_record_without_a_day(zone: LandingZone):
    batch = _batch(_hours(2))
    without = pa.RecordBatch.from_arrays([pa.nulls(2, UTC_TIMESTAMP), *batch.records.columns[1:]], schema=ENTITY.schema)
    connector = _connector({"a": lambda: iter([replace(batch, records=without)])})
    [failure] = pull_source(zone, connector, OPTIONS, now=NOW)
    assert isinstance(failure, SourceFailure)
    assert "2 rows without at" in failure.message


def test_landing_keeps_rejects_with_reason_and_raw_text(zone: LandingZone):
    rejects = tuple(Reject.of(index, "json_broken", "not JSON", b"{\xff" * 40_000) for index in (2, 3))
    connector = _connector({"a": lambda: iter([_batch(_hours(2), 0, rejects)])})
    landing = _only(pull_source(zone, connector, OPTIONS, now=NOW))
    assert (landing.rows_read, landing.rows_landed, landing.rows_rejected) == (4, 2, 2)
    [path] = zone.reject_paths("fake", "things")
    assert path.relative_to(zone.root).parts[:2] == ("fake", "things_rejected")
    rows = pq.read_table(path).to_pylist()
    assert [(row["record_index"], row["reason_code"], row["input_uri"]) for row in rows] == [
        (2, "json_broken", "a"),
        (3, "json_broken", "a"),
    ]
    assert rows[0]["raw_text"].startswith("{\\xff{\\xff")
    assert rows[0]["raw_text"].count("{") == 32 * 1024


def test_landing_of_an_input_without_records_says_so(zone: LandingZone):
    landing = _only(pull_source(zone, _connector({"a": lambda: iter([])}), OPTIONS, now=NOW))
    assert (landing.rows_read, landing.files, landing.rejects_file) == (0, (), None)
    assert zone.current() == [landing]


def test_landing_memory_is_bounded_by_flushing_and_closing_files(zone: LandingZone, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(landing_module, "_PENDING_LIMIT_BYTES", 2_000)
    monkeypatch.setattr(landing_module, "_OPEN_FILES_LIMIT", 2)
    generator = np.random.default_rng(7)
    instants = [NOW + timedelta(hours=int(hour)) for hour in generator.integers(0, 24 * 10, 500)]
    batches = [_batch(instants[start : start + 50], start) for start in range(0, 500, 50)]
    landing = _only(pull_source(zone, _connector({"a": lambda: iter(batches)}), OPTIONS, now=NOW))
    assert sum(file.rows for file in landing.files) == 500
    assert len(landing.event_dates) == 10
    assert len(landing.files) > 10
    found = [
        (index, instant)
        for file in landing.files
        for index, instant in zip(
            *(pq.read_table(file.path, partitioning=None).column(name).to_pylist() for name in ("record_index", "at")),
            strict=True,
        )
    ]
    assert sorted(found) == list(enumerate(instants))


def test_landing_of_an_undated_entity_has_no_day(zone: LandingZone):
    undated = replace(ENTITY, day_column=None)
    connector = _connector({"a": lambda: iter([_batch(_hours(30))])}, undated)
    [file] = _only(pull_source(zone, connector, OPTIONS, now=NOW)).files
    assert (file.event_date, file.rows, file.path.parent.name) == (None, 30, "things")


def test_landing_of_a_newer_connector_reads_anew(zone: LandingZone):
    read = {"a": lambda: iter([_batch(_hours(1))])}
    first = _only(pull_source(zone, _connector(read), OPTIONS, now=NOW))
    assert _only(pull_source(zone, _connector(read), OPTIONS, now=LATER)) == first
    assert _only(pull_source(zone, _connector(read, version=2), OPTIONS, now=LATER)).supersedes == first.landing_id


@pytest.mark.parametrize("step", ["_place", "write"])
def test_landing_killed_before_its_manifest_does_not_exist(
    zone: LandingZone, monkeypatch: pytest.MonkeyPatch, step: str
):
    connector = _connector({"a": lambda: iter([_batch(_hours(30))])})
    owner = LandingZone if step == "_place" else landing_module._Manifest
    done = getattr(owner, step)
    calls = []

    def die(self: object, *arguments: object) -> object:
        calls.append(step)
        if len(calls) == 1 and step == "_place":
            return done(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, die)
        with pytest.raises(KeyboardInterrupt):
            pull_source(zone, connector, OPTIONS, now=NOW)
    assert zone.current() == []
    landing = _only(pull_source(zone, connector, OPTIONS, now=NOW))
    assert zone.current() == [landing]
    assert sum(file.rows for file in landing.files) == 30


def test_landing_sweep_deletes_only_old_files_that_no_manifest_names(zone: LandingZone):
    landing = _only(pull_source(zone, _connector({"a": lambda: iter([_batch(_hours(2))])}), OPTIONS, now=NOW))
    orphan = zone.root / "fake" / "things" / "event_date=2026-10-01" / f"{'0' * 32}.parquet"
    orphan.write_bytes(b"left behind")
    clock = datetime.now(UTC)
    assert zone.sweep(now=clock) == 0
    assert zone.sweep(now=clock + timedelta(days=2)) == 1
    assert not orphan.exists()
    assert landing.files[0].path.is_file()


def test_landing_of_a_damaged_manifest_says_which(zone: LandingZone):
    _only(pull_source(zone, _connector({"a": lambda: iter([_batch(_hours(2))])}), OPTIONS, now=NOW))
    [manifest] = (zone.root / "_manifest" / "fake").glob("*.json")
    manifest.write_text("{}", encoding="utf-8")
    with pytest.raises(PermanentSourceError, match=manifest.name):
        LandingZone(zone.root).current()


def test_landing_manifest_states_what_landed(zone: LandingZone):
    landing = _only(pull_source(zone, _connector({"a": lambda: iter([_batch(_hours(2))])}), OPTIONS, now=NOW))
    path = zone.root / "_manifest" / "fake" / f"{landing.landing_id}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["files"][0]["path"].startswith("fake/things/event_date=2026-10-01/")
    assert (content["source_name"], content["feed"], content["rows_read"]) == ("feed", "usage", 2)
    assert content["landed_at"] == "2026-10-01T00:00:00+00:00"


_WORKER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from dagster_project.sources.table_files import TableFilesOptions, connector
from dagster_project.warehouse.landing import LandingZone, pull_source
folder = Path(sys.argv[1])
options = TableFilesOptions.model_validate(
    {"name": "calls", "kind": "table_files", "path": "{feeds}/*.csv", "format": "csv",
     "columns": {"event_at": "t", "input_tokens": "n"}},
    context={"feeds_dir": folder / "feeds", "config_dir": folder})
results = pull_source(LandingZone(folder / "landing"), connector, options, now=datetime.now(UTC))
print(" ".join(item.landing_id for item in results))
"""


def test_landing_by_two_processes_at_once_lands_every_input_once(tmp_path: Path):
    feeds = tmp_path / "feeds"
    feeds.mkdir()
    for number in range(8):
        text = "".join(f"2026-07-0{1 + row % 9}T00:00:00Z,{number}\n" for row in range(200))
        (feeds / f"{number}.csv").write_text("t,n\n" + text, encoding="utf-8")
    command = [sys.executable, "-c", _WORKER, str(tmp_path)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert outputs[0] == outputs[1]
    zone = LandingZone(tmp_path / "landing")
    assert len(zone.current()) == len(zone.all()) == 8
    assert sum(file.rows for landing in zone.current() for file in landing.files) == 1_600
    assert all(path.is_file() for path in zone.file_paths("table_files", "calls"))


USERS = Entity("users", pa.schema([("user_id", pa.string()), ("note", pa.string())]), user_columns=("user_id",))


def _users(*users: str | None) -> Connector:
    def batches() -> Iterator[Batch]:
        columns = {"user_id": pa.array(users, pa.string()), "note": pa.array(["same"] * len(users))}
        records = pa.record_batch(columns, USERS.schema)
        yield Batch("users", records, pa.array(range(len(users)), pa.int64()), len(users))

    return replace(_connector({"a": batches}, USERS), entities=(USERS,))


def _landed_users(zone: LandingZone, options: SourceOptions = OPTIONS) -> list[str | None]:
    landing = _only(pull_source(zone, _users("ann", None, "ann", "bob"), options, now=NOW))
    [file] = landing.files
    return pq.read_table(file.path).column("user_id").to_pylist()


def test_user_identifiers_land_as_keyed_pseudonyms(tmp_path: Path):
    # HMAC-SHA256 of "ann" and "bob" under the key "k", by openssl: printf ann | openssl dgst -sha256 -hmac k
    ann = "9266175ac0e5692db793c2ff4b72068c2ba1e41a9e4d3e6ac50f7d2ccf59441b"
    bob = "73662dcee4acad8d3d983bf08054fe565e2daf9ea4d9b6b02b94564ed55077e4"
    assert _landed_users(LandingZone(tmp_path, hash_key=b"k")) == [ann, None, ann, bob]


def test_user_identifiers_do_not_land_without_a_key_unless_the_source_keeps_them(tmp_path: Path):
    assert _landed_users(LandingZone(tmp_path / "dropped")) == [None] * 4
    keeping = SourceOptions(name="feed", kind="fake", keep_user_ids=True)
    assert _landed_users(LandingZone(tmp_path / "kept", hash_key=b"k"), keeping) == ["ann", None, "ann", "bob"]


def test_a_new_key_lands_users_anew_and_leaves_other_inputs_alone(tmp_path: Path):
    first = pull_source(LandingZone(tmp_path), _users("ann"), OPTIONS, now=NOW)
    second = pull_source(LandingZone(tmp_path, hash_key=b"k"), _users("ann"), OPTIONS, now=LATER)
    assert _only(second).supersedes == _only(first).landing_id
    other = _connector({"b": lambda: iter([_batch(_hours(1))])})
    before = pull_source(LandingZone(tmp_path / "other"), other, OPTIONS, now=NOW)
    assert pull_source(LandingZone(tmp_path / "other", hash_key=b"k"), other, OPTIONS, now=LATER) == before


def test_a_source_that_stops_on_drift_refuses_an_input_with_an_unreadable_record_and_keeps_its_rows(zone: LandingZone):
    reject = Reject.of(1, "value_unparsable", "tokens is not a number", "x")
    drifted = _connector({"a": lambda: iter([_batch(_hours(1), 0, (reject,))])})
    strict = SourceOptions(name="feed", kind="fake", on_drift="stop")
    [failure] = pull_source(zone, drifted, strict, now=NOW)
    assert isinstance(failure, SourceFailure)
    assert "row 2: tokens is not a number. The version is refused as a whole" in failure.message
    [refused] = zone.current("fake")
    assert (refused.input_uri, refused.rows_landed, refused.rows_rejected) == ("a (refused)", 0, 2)
    assert _only(pull_source(zone, drifted, OPTIONS, now=LATER)).rows_landed == 1


def test_a_refused_version_is_kept_without_its_users(tmp_path: Path):
    def batches() -> Iterator[Batch]:
        records = pa.record_batch({"user_id": ["ann"], "note": ["same"]}, USERS.schema)
        rejects = (Reject.of(1, "value_unparsable", "x", "y"),)
        yield Batch("users", records, pa.array([0], pa.int64()), 2, rejects)

    drifted = replace(_connector({"a": batches}, USERS), entities=(USERS,))
    zone = LandingZone(tmp_path, hash_key=b"k")
    pull_source(zone, drifted, SourceOptions(name="feed", kind="fake", on_drift="stop"), now=NOW)
    [refused] = zone.current("fake")
    assert refused.rejects_file is not None
    texts = {row["record_index"]: row["raw_text"] for row in pq.read_table(refused.rejects_file.path).to_pylist()}
    assert json.loads(texts[0]) == {"user_id": hashed_user("ann", b"k"), "note": "same"}


def test_users_that_are_pseudonyms_already_land_as_they_are(tmp_path: Path):
    pseudonym = hashed_user("ann", b"k")

    def batches() -> Iterator[Batch]:
        records = pa.record_batch({"user_id": [pseudonym], "note": ["same"]}, USERS.schema)
        yield Batch("users", records, pa.array([0], pa.int64()), 1, has_pseudonyms=True)

    spooled = replace(_connector({"a": batches}, USERS), entities=(USERS,))
    landing = _only(pull_source(LandingZone(tmp_path, hash_key=b"k"), spooled, OPTIONS, now=NOW))
    assert pq.read_table(landing.files[0].path).column("user_id").to_pylist() == [pseudonym]


def test_landed_inputs_say_whether_they_were_read_as_they_would_be_read_today(zone: LandingZone):
    connector = _connector({"a": lambda: iter([_batch(_hours(1))])})
    landing = _only(pull_source(zone, connector, OPTIONS, now=NOW))
    found = zone.landed_inputs(connector, OPTIONS)
    assert found == {"a": LandedInput(NOW, landing.input_sha256, 1)}
    assert zone.landed_inputs(connector, SourceOptions(name="other", kind="fake")) == {}
    otherwise = zone.landed_inputs(_connector({}, version=2), OPTIONS)
    assert [item.is_current_reading for item in otherwise.values()] == [False]
    zone.withdraw("fake", "feed", now=LATER)
    assert zone.landed_inputs(connector, OPTIONS) == {}
