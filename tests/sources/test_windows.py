"""Windows: what has not landed is asked for, late records are found, a settled window is left alone."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_project.errors import PermanentSourceError, TransientSourceError
from dagster_project.sources._connector import (
    Batch,
    Connector,
    Entity,
    InputIdentity,
    InputPull,
    PullContext,
    SourceOptions,
)
from dagster_project.sources._files import sha256_of, text_lines
from dagster_project.sources._json import exact
from dagster_project.sources._windows import Window, WindowedSource, day_of, days, hours, months, spool, window_inputs
from dagster_project.warehouse.landing import Landing, LandingZone, SourceFailure, pull_source

START = date(2026, 10, 1)
ENTITY = Entity("things", pa.schema([("value", pa.int64())]))
OPTIONS = SourceOptions(name="feed", kind="fake")
LOOKBACK = timedelta(days=3)


def _at(day: int, hour: int = 12) -> datetime:
    return datetime(2026, 10, day, hour, tzinfo=UTC)


@dataclass
class _System:
    """A system with records by day, which notes for which days it was asked.

    Attributes:
        values: Records by the name of their window.
        asked: The windows that it was asked for since this was last emptied.
        errors: What to raise instead of an answer, by window.
    """

    values: dict[str, list[int]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    errors: dict[str, Exception] = field(default_factory=dict)
    version: int = 1
    retention: timedelta | None = None
    question: str | None = "all of it"

    def ask(self, window: Window) -> Iterator[Any]:
        self.asked.append(window.name)
        yield from self.values.get(window.name, [])
        if window.name in self.errors:
            raise self.errors[window.name]

    def connector(self) -> Connector:
        def read(options: SourceOptions, context: PullContext) -> Iterator[InputPull]:
            source = WindowedSource(options.name, "https://api.example/v1", LOOKBACK, self.retention, self.question)
            return window_inputs(source, context, days(START, context.now), self.ask, _read)

        return Connector("fake", "reports", (ENTITY,), SourceOptions, read, self.version)

    def pull(self, zone: LandingZone, now: datetime) -> list[Landing | SourceFailure]:
        """Pull with a landing zone that remembers nothing."""
        self.asked.clear()
        return pull_source(LandingZone(zone.root), self.connector(), OPTIONS, now=now)


def _read(path: Path, input_uri: str) -> Iterator[Batch]:
    values = [exact(line) for line, _ in text_lines(path, input_uri, limit_bytes=1000)]
    yield Batch("things", pa.record_batch({"value": values}, ENTITY.schema), pa.array(range(len(values))), len(values))


def _landed(zone: LandingZone) -> dict[str, list[int]]:
    """Give what counts, by window."""
    found = {}
    for landing in LandingZone(zone.root).current("fake"):
        rows = [row for file in landing.files for row in pq.read_table(file.path).column("value").to_pylist()]
        found[landing.input_uri.removeprefix("https://api.example/v1#")] = rows
    return found


@pytest.fixture
def zone(tmp_path: Path) -> LandingZone:
    return LandingZone(tmp_path / "landing")


def test_windows_are_half_open_and_the_open_one_is_the_last():
    assert [window.name for window in days(START, _at(2, 0))] == ["2026-10-01"]
    assert [window.name for window in days(START, _at(2, 1))] == ["2026-10-01", "2026-10-02"]
    assert next(days(START, _at(9))) == Window("2026-10-01", _at(1, 0), _at(2, 0))
    assert [window.name for window in hours(START, _at(1, 2))] == ["2026-10-01T00", "2026-10-01T01"]
    [february, march] = list(months(date(2028, 2, 9), datetime(2028, 3, 1, 1, tzinfo=UTC)))
    # 2028 is a leap year.
    assert (february.end_at - february.start_at).days == 29
    assert (march.name, march.end_at) == ("2028-03", datetime(2028, 4, 1, tzinfo=UTC))


def test_the_first_pull_asks_for_every_window_and_lands_empty_ones_too(zone: LandingZone):
    system = _System({"2026-10-01": [1], "2026-10-03": [3, 4]})
    system.pull(zone, _at(3))
    assert system.asked == ["2026-10-01", "2026-10-02", "2026-10-03"]
    assert _landed(zone) == {"2026-10-01": [1], "2026-10-02": [], "2026-10-03": [3, 4]}


def test_a_window_is_asked_for_until_its_lookback_has_passed_and_then_left_alone(zone: LandingZone):
    system = _System()
    asked = []
    for day in (1, 2, 3, 4, 5, 6, 7):
        system.pull(zone, _at(day))
        asked.append([name[-1] for name in system.asked])
    # The window of day 1 ends on day 2 at 00:00; its lookback of three days has passed on day 5 at 00:00, so the pull
    # of day 5 at 12:00 is the last one that asks for it.
    assert asked == [
        ["1"], ["1", "2"], ["1", "2", "3"], ["1", "2", "3", "4"], ["1", "2", "3", "4", "5"],
        ["2", "3", "4", "5", "6"], ["3", "4", "5", "6", "7"],
    ]  # fmt: skip


def test_a_late_record_within_the_lookback_lands_and_unchanged_windows_do_not(zone: LandingZone):
    system = _System({"2026-10-01": [1], "2026-10-02": [2]})
    system.pull(zone, _at(3))
    system.values["2026-10-01"] = [1, 11]
    results = system.pull(zone, _at(4))
    assert [item.input_uri[-1] for item in results if isinstance(item, Landing) and item.landed_at == _at(4)] == [
        "1",
        "4",
    ]
    assert _landed(zone) == {"2026-10-01": [1, 11], "2026-10-02": [2], "2026-10-03": [], "2026-10-04": []}


def test_after_an_outage_what_had_not_settled_is_asked_for_once_more(zone: LandingZone):
    system = _System()
    system.pull(zone, _at(2))
    system.values["2026-10-02"] = [22]
    system.pull(zone, _at(20))
    # On day 2 the windows of days 1 and 2 landed early; all others have never landed.
    assert system.asked[0] == "2026-10-01"
    assert len(system.asked) == 20
    assert _landed(zone)["2026-10-02"] == [22]
    system.pull(zone, _at(20, 13))
    # 20 October at 13:00 less three days lies in the 17th; the windows from then on may still change.
    assert system.asked == ["2026-10-17", "2026-10-18", "2026-10-19", "2026-10-20"]


def test_a_window_that_fails_lands_nothing_keeps_the_former_and_is_asked_for_again(zone: LandingZone):
    system = _System({"2026-10-01": [1], "2026-10-02": [2]})
    system.pull(zone, _at(2))
    system.values = {"2026-10-01": [1, 11], "2026-10-02": [2, 22]}
    system.errors["2026-10-01"] = PermanentSourceError("pages repeat")
    results = system.pull(zone, _at(9))
    [failure] = [item for item in results if isinstance(item, SourceFailure)]
    assert (failure.input_uri, failure.is_transient) == ("https://api.example/v1#2026-10-01", False)
    assert {name: rows for name, rows in _landed(zone).items() if rows} == {"2026-10-01": [1], "2026-10-02": [2, 22]}
    system.errors.clear()
    system.pull(zone, _at(30))
    assert system.asked[0] == "2026-10-01"
    assert _landed(zone)["2026-10-01"] == [1, 11]


def test_windows_that_cannot_be_answered_do_not_hold_up_the_others(zone: LandingZone):
    odd = PermanentSourceError("page loop")
    system = _System(
        {f"2026-10-{day:02}": [day] for day in range(1, 10)},
        errors={f"2026-10-{day:02}": odd for day in (2, 3, 5, 6)},
    )
    system.pull(zone, _at(8))
    # Days 2 and 3 fail, day 8 answers; days 5 and 6 fail, day 7 is the newest that is left and answers.
    assert [name[-1] for name in system.asked] == ["1", "2", "3", "8", "4", "5", "6", "7"]
    assert sorted(name[-1] for name in _landed(zone)) == ["1", "4", "7", "8"]
    system.pull(zone, _at(9))
    assert [name[-1] for name in system.asked] == ["2", "3", "9", "5", "6", "8", "7"]
    assert _landed(zone)["2026-10-09"] == [9]


def test_an_answer_that_another_pull_replaces_before_it_is_read_does_not_land_under_the_hash_of_this_one(
    zone: LandingZone,
):
    newer, older = _System({"2026-10-01": [1, 2]}), _System({"2026-10-01": [1]})
    context = PullContext(_at(1), zone.fetched_dir)
    mine = next(newer.connector().read(OPTIONS, context))
    other = next(older.connector().read(OPTIONS, context))

    def identify() -> InputIdentity:
        identity = mine.identify()
        other.identify()
        return identity

    with pytest.raises(TransientSourceError, match="changed while it was read"):
        zone.land(newer.connector(), OPTIONS, replace(mine, identify=identify), now=_at(1))
    newer.pull(zone, _at(1, 13))
    assert _landed(zone) == {"2026-10-01": [1, 2]}


def test_a_day_holds_its_first_instant():
    assert day_of(_at(2, 0)) == day_of(_at(2, 23)) == Window("2026-10-02", _at(2, 0), _at(3, 0))


def test_a_system_that_is_away_is_not_asked_for_every_window(zone: LandingZone):
    system = _System(errors={f"2026-10-{day:02}": TransientSourceError("away") for day in range(1, 31)})
    results = system.pull(zone, _at(20))
    # Two in a row, and the newest one, which says that it is not those two days that are odd.
    assert system.asked == ["2026-10-01", "2026-10-02", "2026-10-20"]
    assert [item.is_transient for item in results if isinstance(item, SourceFailure)] == [True] * 3
    system.errors.clear()
    system.pull(zone, _at(20))
    assert len(system.asked) == 20


def test_an_answer_that_was_spooled_but_has_not_landed_does_not_count(zone: LandingZone):
    system = _System({"2026-10-01": [1]})
    system.pull(zone, _at(1))
    # A pull of day 9 that was killed between the answer and its landing.
    [path] = zone.fetched_dir.rglob("2026-10-01.jsonl.gz")
    spool(path, [1, 11], answered_at=_at(9))
    system.values["2026-10-01"] = [1, 11]
    system.pull(zone, _at(9))
    assert system.asked[0] == "2026-10-01"
    assert _landed(zone)["2026-10-01"] == [1, 11]


def test_without_the_spooled_files_windows_are_asked_for_once_more_and_land_the_same(zone: LandingZone):
    system = _System({"2026-10-01": [1], "2026-10-02": [2]})
    system.pull(zone, _at(2))
    system.pull(zone, _at(9))
    before = LandingZone(zone.root).current("fake")
    shutil.rmtree(zone.fetched_dir)
    system.pull(zone, _at(9))
    # Days 1 and 2 landed on day 2, before they settled, and have not changed since; days 3 to 5 landed on day 9.
    assert system.asked == ["2026-10-01", "2026-10-02", "2026-10-06", "2026-10-07", "2026-10-08", "2026-10-09"]
    assert LandingZone(zone.root).current("fake") == before


def test_a_connector_that_reads_differently_reads_settled_answers_from_their_files(zone: LandingZone):
    system = _System({"2026-10-01": [1], "2026-10-07": [7]})
    system.pull(zone, _at(9))
    # The system has forgotten all that it knew.
    system.values.clear()
    system.version = 2
    results = system.pull(zone, _at(9, 13))
    # 9 October at 13:00 less three days lies in the 6th: what ended before it had settled.
    assert system.asked == [f"2026-10-0{day}" for day in (6, 7, 8, 9)]
    landed_anew = [item.input_uri[-1] for item in results if isinstance(item, Landing) and item.landed_at == _at(9, 13)]
    assert landed_anew == ["1", "2", "3", "4", "5", "6", "7", "8", "9"]
    assert {name[-1]: rows for name, rows in _landed(zone).items() if rows} == {"1": [1]}
    system.pull(zone, _at(10))
    assert system.asked == [f"2026-10-{day:02}" for day in (6, 7, 8, 9, 10)]


@pytest.mark.parametrize("damage", ["file", "note", "other answer"])
def test_a_settled_answer_whose_file_is_not_what_landed_is_asked_for_again(zone: LandingZone, damage: str):
    system = _System({"2026-10-01": [1]})
    system.pull(zone, _at(9))
    [path] = zone.fetched_dir.rglob("2026-10-01.jsonl.gz")
    match damage:
        case "file":
            path.write_bytes(b"")
        case "note":
            path.with_name(f"{path.name}.note").write_text("{}", encoding="utf-8")
        case _:
            spool(path, [5], answered_at=_at(9), question=system.question)
    system.version = 2
    system.pull(zone, _at(9))
    assert system.asked[0] == "2026-10-01"
    assert len(system.asked) == 5
    assert _landed(zone)["2026-10-01"] == [1]


@pytest.mark.parametrize("question", ["by model", None])
def test_another_question_asks_for_every_window_that_is_still_kept(zone: LandingZone, question: str | None):
    system = _System({"2026-10-01": [1]})
    system.pull(zone, _at(9))
    system.values.clear()
    system.version, system.retention, system.question = 2, timedelta(days=5), question
    system.pull(zone, _at(9))
    # 9 October at 12:00 less five days is 4 October at 12:00; what began before is gone, and its landing stays.
    assert system.asked == [f"2026-10-0{day}" for day in (5, 6, 7, 8, 9)]
    assert _landed(zone)["2026-10-01"] == [1]


def test_a_full_pull_from_nothing_gives_what_pulls_day_by_day_gave(zone: LandingZone, tmp_path: Path):
    system = _System()
    for day in (1, 2, 3, 4):
        system.values[f"2026-10-{day:02}"] = [day]
        system.values["2026-10-01"] = [1] * day
        system.pull(zone, _at(day))
    fresh = LandingZone(tmp_path / "fresh")
    system.pull(fresh, _at(4))
    assert _landed(zone) == _landed(fresh) == {
        "2026-10-01": [1, 1, 1, 1], "2026-10-02": [2], "2026-10-03": [3], "2026-10-04": [4],
    }  # fmt: skip


def test_equal_answers_are_spooled_as_equal_bytes_and_keep_their_digits(tmp_path: Path):
    first, second = tmp_path / "a.jsonl.gz", tmp_path / "b" / "other.jsonl.gz"
    spool(first, [{"b": Decimal("1.10"), "a": [Decimal("1E-20"), Decimal(2**70)]}], answered_at=_at(1))
    spool(second, [{"a": [Decimal("1E-20"), Decimal(2**70)], "b": Decimal("1.10")}], answered_at=_at(2))
    assert sha256_of(first) == sha256_of(second)
    [(line, _)] = text_lines(first, "first", limit_bytes=1000)
    assert exact(line) == {"a": [Decimal("1E-20"), Decimal(2**70)], "b": Decimal("1.10")}


def test_an_answer_that_breaks_off_leaves_the_former_file(tmp_path: Path):
    path = tmp_path / "a.jsonl.gz"
    spool(path, [1], answered_at=_at(1))
    before = sha256_of(path)

    def broken() -> Iterator[int]:
        yield 2
        raise TransientSourceError("broken off")

    with pytest.raises(TransientSourceError):
        spool(path, broken(), answered_at=_at(2))
    assert sha256_of(path) == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.jsonl.gz", "a.jsonl.gz.note"]
