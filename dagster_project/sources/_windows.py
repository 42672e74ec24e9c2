"""Windows of time of a system that is asked: which ones to ask for, and one input per window.

A system that is asked has no files; its inputs are its windows, UTC days as a rule. The answer for a window is spooled
to a file, canonical JSON Lines in gzip, so that equal answers are equal content, and is then an input like any file.

There is no cursor besides what has landed. A window is asked for until an answer that was given after its lookback had
passed has landed, and never again. So what has not landed is asked for, late records are found, a pull that fails
loses nothing, and however often one pulls, each window stands once. A note beside the spooled file says when the answer
was given, and to which question; it counts only while its content is what has landed, and without it a window is asked
for once more. A window that is to be read otherwise, and about which nothing else would be asked, is read from its
spooled file: the system may know less of it by then.
"""

import gzip
import hashlib
import json
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dagster_project.errors import TransientSourceError
from dagster_project.sources._connector import Batch, InputIdentity, InputPull, LandedInput, PullContext
from dagster_project.sources._files import file_input, sha256_of
from dagster_project.sources._json import canonical, exact

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
# After so many windows in a row that cannot be asked for, the newest one says whether the windows are odd or the system
# is away.
_FAILURES = 2


@dataclass(frozen=True)
class Window:
    """A half-open window of time.

    Attributes:
        name: What an input is called by it: `2026-11-20`, `2026-11-20T13`, `2026-11`.
        start_at: Its first UTC instant.
        end_at: The first UTC instant that is not in it.
    """

    name: str
    start_at: datetime
    end_at: datetime


WHOLE = Window("all", datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC))
"""The window of a system that cannot be asked by time: all that it has, asked for at every pull."""


def days(start_date: date, now: datetime) -> Iterator[Window]:
    """Give the UTC days from one on, the one of `now` included."""
    start_at = datetime.combine(start_date, time(), UTC)
    while start_at < now:
        yield Window(start_at.date().isoformat(), start_at, start_at + _DAY)
        start_at += _DAY


def day_of(at: datetime) -> Window:
    """Give the UTC day that an instant is in."""
    return next(days(at.astimezone(UTC).date(), datetime.max.replace(tzinfo=UTC)))


def hours(start_date: date, now: datetime) -> Iterator[Window]:
    """Give the UTC hours from a day on, the one of `now` included."""
    start_at = datetime.combine(start_date, time(), UTC)
    while start_at < now:
        yield Window(start_at.strftime("%Y-%m-%dT%H"), start_at, start_at + _HOUR)
        start_at += _HOUR


def months(start_date: date, now: datetime) -> Iterator[Window]:
    """Give the UTC calendar months from that of a day on, the one of `now` included."""
    start_at = datetime.combine(start_date.replace(day=1), time(), UTC)
    while start_at < now:
        end_at = (start_at + 32 * _DAY).replace(day=1)
        yield Window(start_at.strftime("%Y-%m"), start_at, end_at)
        start_at = end_at


@dataclass(frozen=True)
class WindowedSource:
    """A system that is asked for windows.

    Attributes:
        name: The configured source.
        address: Its public address, without secrets; an input is `<address>#<window>`.
        lookback: How long after its end a window may still get records.
        retention: How long after its start the system can still be asked for a window; None for always.
        question: What besides address and window decides the answer, so that an answer to the same question can be read
            again from its spooled file; None when the spooled file does not hold what is read.
    """

    name: str
    address: str
    lookback: timedelta
    retention: timedelta | None = None
    question: str | None = None

    def input_uri(self, window: Window) -> str:
        """Name a window's input."""
        return f"{self.address}#{window.name}"


def window_inputs(
    source: WindowedSource,
    context: PullContext,
    windows: Iterable[Window],
    ask: Callable[[Window], Iterable[Any]],
    read: Callable[[Path, str], Iterator[Batch]],
) -> Generator[InputPull, None, bool]:
    """List the windows that are to be asked for as inputs, oldest first; each is asked for when it is landed.

    A window that cannot be asked for fails alone. After two in a row the newest one is tried; if it fails too, the rest
    waits for the next pull, else the rest is gone on with.

    Args:
        source: The system.
        context: The pull.
        windows: Its windows, oldest first.
        ask: Gives the answer for a window piece by piece, each a JSON value that becomes a line; raises a source error.
        read: Reads the spooled file under its input's name.

    Returns:
        Whether it looks as if the system were away: the last windows failed, and the last one failed as transient.
    """
    spool = _Spool.of(source, context)
    due: deque[_Asking] = deque()
    for window in windows:
        landed = context.landed.get(source.input_uri(window))
        is_spooled = False
        if landed is not None and spool.answered_at(window, landed) >= window.end_at + source.lookback:
            if landed.is_current_reading:
                continue
            is_spooled = spool.holds(window, landed, source.question)
        is_kept = source.retention is None or window.start_at >= context.now - source.retention
        if not is_spooled and not is_kept:
            continue
        due.append(
            _Asking(
                input_uri=source.input_uri(window),
                path=spool.path(window),
                ask=partial(ask, window),
                read=read,
                question=source.question,
                now=context.now,
                is_spooled=is_spooled,
            )
        )
    failures = 0
    is_away = False
    while due and failures <= _FAILURES:
        asking = due.pop() if failures == _FAILURES else due.popleft()
        yield InputPull(asking.input_uri, "", asking.identify, asking.batches)
        if not asking.is_spooled:
            failures = 0 if asking.is_answered else failures + 1
            is_away = asking.is_away
    return is_away and failures >= _FAILURES


@dataclass(frozen=True)
class _Spool:
    """The folder of a system's answers: a file per window, and a note of when it was given and to which question."""

    folder: Path

    @classmethod
    def of(cls, source: WindowedSource, context: PullContext) -> "_Spool":
        address = hashlib.sha256(source.address.encode()).hexdigest()[:16]
        return cls(context.fetched_dir / "windows" / source.name / address)

    def path(self, window: Window) -> Path:
        return self.folder / f"{quote(window.name, safe='')}.jsonl.gz"

    def answered_at(self, window: Window, landed: LandedInput) -> datetime:
        """Say when the content that has landed was last given as the answer."""
        try:
            note = self._note(window)
            answered_at = datetime.fromisoformat(note["answered_at"])
            return answered_at if note["sha256"] == landed.sha256 else landed.landed_at
        except (OSError, ValueError, KeyError, TypeError):
            return landed.landed_at

    def holds(self, window: Window, landed: LandedInput, question: str | None) -> bool:
        """Say whether the file is the content that has landed, as the answer to the question."""
        if question is None:
            return False
        try:
            note = self._note(window)
            is_noted = note["sha256"] == landed.sha256 and note["question_sha256"] == _sha256_of_text(question)
            return is_noted and sha256_of(self.path(window)) == landed.sha256
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _note(self, window: Window) -> Any:  # noqa: ANN401 - JSON
        return json.loads(_note_path(self.path(window)).read_text(encoding="utf-8"))


def _sha256_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def spooled(source: WindowedSource, context: PullContext, window: Window) -> Iterator[Any]:
    """Give the pieces of the answer that was last spooled for a window; nothing without one, or beyond damage in it."""
    try:
        with gzip.open(_Spool.of(source, context).path(window), "rb") as stream:
            yield from map(exact, stream)
    except (OSError, EOFError, ValueError):
        return


def _note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.note")


@dataclass
class _Asking:
    """One window that is asked for when its content is asked about, and read from its spooled file afterwards.

    One whose answer is spooled is not asked for. What is read is what was identified: another pull may put another
    answer in the file's place meanwhile, and the file is then one that changed.
    """

    input_uri: str
    path: Path
    ask: Callable[[], Iterable[Any]]
    read: Callable[[Path, str], Iterator[Batch]]
    question: str | None
    now: datetime
    is_spooled: bool
    is_answered: bool = field(default=False, init=False)
    is_away: bool = field(default=False, init=False)
    _file: InputPull = field(init=False)

    def __post_init__(self) -> None:
        self._file = file_input(self.path, self.input_uri, self.read)

    def identify(self) -> InputIdentity:
        if not self.is_spooled:
            try:
                spool(self.path, self.ask(), answered_at=self.now, question=self.question)
            except TransientSourceError:
                self.is_away = True
                raise
            self.is_answered = True
        return self._file.identify()

    def batches(self) -> Iterator[Batch]:
        return self._file.batches()


def spool(path: Path, pieces: Iterable[Any], *, answered_at: datetime, question: str | None = None) -> None:
    """Write an answer to a file, a line per piece, with a note of when it was given; whole or not at all.

    Args:
        path: The file, `*.jsonl.gz`.
        pieces: JSON values; decimals stay exact.
        answered_at: UTC instant of the answer.
        question: What decides the answer, as `WindowedSource` has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        # Without name and time in the header, so that the same lines are the same bytes.
        with temporary.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as stream:
            for piece in pieces:
                stream.write(canonical(piece))
        note = {"answered_at": answered_at.isoformat(), "sha256": sha256_of(temporary)}
        if question is not None:
            note["question_sha256"] = _sha256_of_text(question)
        temporary.replace(path)
        temporary.write_text(json.dumps(note), encoding="utf-8")
        temporary.replace(_note_path(path))
    finally:
        temporary.unlink(missing_ok=True)
