"""KPI scores that somebody enters by hand: a journal that is only ever added to, with who entered what, when and why.

The journal is a folder of JSON Lines, one file per UTC month of entry. Each entry carries the hash of the one before
it, so that an entry that was changed or taken out afterwards breaks the chain, and the file is refused. What has landed
is what each file must still begin with, so that nothing is cut off its end either. A correction is a further entry for
the same score, a withdrawal one without a score; both name the entry that they replace, and no entry is replaced twice.
Of several entries for one score the last one counts, the others stay.
"""

import hashlib
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock
from pydantic import Field

from dagster_project.errors import ConfigurationError, PermanentSourceError
from dagster_project.sources._connector import (
    Batch,
    Connector,
    InputPull,
    LandedInput,
    LocalPatternField,
    PullContext,
    SourceOptions,
)
from dagster_project.sources._files import file_input
from dagster_project.sources._json import canonical
from dagster_project.sources._kpis import SCORE_LIMIT, SCORES, KpiOptions, score_batches

WITHDRAWN = "withdrawn"
_FILE_NAME = re.compile(r"/[0-9]{4}-[0-9]{2}\.jsonl$")
_SCORE = (
    "kpi_name", "score", "score_text", "use_case_id", "use_case_version", "use_case_instance_id", "scored_at",
    "provenance",
)  # fmt: skip


class ManualScoresOptions(SourceOptions):
    """Options of scores that are entered by hand.

    Attributes:
        path: The journal's folder.
    """

    path: LocalPatternField = Field(exclude=True)

    @property
    def folder(self) -> Path:
        """The journal's folder."""
        return self.path.base / self.path.pattern


@dataclass(frozen=True)
class Entry:
    """One entry of a journal.

    Attributes:
        kpi_name: The KPI.
        use_case_id: The use case.
        use_case_version: Its version; None when the score is of no version.
        use_case_instance_id: The run that was scored; None for a day's score.
        score: In the KPI's unit; None in a withdrawal.
        scored_at: UTC instant at which the score held.
        provenance: measured, self_reported, derived or attested.
        entered_by: Who entered it.
        reason: Why.
        evidence: What it rests on: a ticket, a document, an address; None when nothing was named.
        replaces_entry_id: The entry that it corrects or withdraws.
    """

    kpi_name: str
    use_case_id: str
    use_case_version: str | None
    use_case_instance_id: str | None
    score: float | None
    scored_at: datetime
    provenance: str
    entered_by: str
    reason: str
    evidence: str | None = None
    replaces_entry_id: str | None = None


class Journal:
    """A journal of scores in a folder.

    Args:
        folder: Where its files are; made when the first entry is.
        landed: What has landed from it, by input.
    """

    def __init__(self, folder: Path, landed: Mapping[str, LandedInput] | None = None) -> None:
        self.folder = folder
        self._landed = {
            input_uri.rpartition("/")[2]: identity
            for input_uri, identity in (landed or {}).items()
            if _FILE_NAME.search(input_uri)
        }

    def files(self) -> list[Path]:
        """Give the files, oldest first."""
        return sorted(self.folder.glob("[0-9][0-9][0-9][0-9]-[0-9][0-9].jsonl"))

    def add(self, entry: Entry, *, now: datetime) -> str:
        """Add an entry, durably, and give its id.

        Raises:
            ConfigurationError: the entry that it replaces is not there, or was replaced already; nothing was added.
            PermanentSourceError: the journal is broken; nothing was added.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            lines = list(self._chained())
            self.compare()
            if entry.replaces_entry_id:
                self._found([item.content for item in lines], entry.replaces_entry_id)
            last = lines[-1] if lines else None
            previous = _line_sha256(last.line) if last else ""
            entered_at = now.astimezone(UTC)
            content = {
                **entry.__dict__,
                "scored_at": entry.scored_at.astimezone(UTC).isoformat(),
                "score_text": WITHDRAWN if entry.score is None else None,
                "entered_at": entered_at.isoformat(),
                "previous_sha256": previous,
            }
            entry_id = hashlib.sha256(canonical(content)).hexdigest()[:16]
            # A clock that is behind the last entry's month does not put the entry before that one.
            name = max(f"{entered_at:%Y-%m}.jsonl", last.path.name if last else "")
            path = self.folder / name
            former = path.read_bytes() if path.exists() else b""
            _write(path, former + canonical({"entry_id": entry_id, **content}))
        return entry_id

    def entries(self) -> Iterator[dict[str, Any]]:
        """Give the entries, oldest first.

        Raises:
            PermanentSourceError: an entry was changed or taken out.
        """
        yield from (item.content for item in self._chained())
        self.compare()

    def find(self, entry_id: str) -> dict[str, Any]:
        """Give an entry by its id, or by the beginning of it.

        Raises:
            ConfigurationError: there is none, several, or it was replaced already.
            PermanentSourceError: the journal is broken.
        """
        return self._found(list(self.entries()), entry_id)

    def _found(self, entries: Sequence[dict[str, Any]], entry_id: str) -> dict[str, Any]:
        found = [entry for entry in entries if entry_id and str(entry["entry_id"]).startswith(entry_id)]
        if len(found) != 1:
            msg = f"Looked for the entry {entry_id!r} in {self.folder}: {len(found)} entries, expected one."
            raise ConfigurationError(msg)
        replacing = [entry["entry_id"] for entry in entries if entry["replaces_entry_id"] == found[0]["entry_id"]]
        if replacing:
            msg = f"The entry {found[0]['entry_id']} was replaced by {replacing[0]}; name that one."
            raise ConfigurationError(msg)
        return found[0]

    def compare(self) -> None:
        """Compare the files with what has landed; raises PermanentSourceError when one does not begin with it."""
        for name, identity in sorted(self._landed.items()):
            path = self.folder / name
            content = path.read_bytes()[: identity.size_bytes] if path.exists() else b""
            if hashlib.sha256(content).hexdigest() != identity.sha256:
                msg = (
                    f"Read {name} of the journal in {self.folder}: an entry is not what was entered, or is gone. "
                    f"Expected the file to begin with the {identity.size_bytes:,} bytes that have landed, for entries "
                    "are only ever added; restore the file, then correct by `tokenledger score correct`."
                )
                raise PermanentSourceError(msg)

    def check(self, path: Path) -> None:
        """Check the chain up to the end of a file; raises PermanentSourceError where it is broken."""
        for _ in self._chained(path):
            pass

    def _chained(self, last: Path | None = None) -> Iterator["_Line"]:
        previous = ""
        for path in self.files():
            if last is not None and path > last:
                return
            for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
                content = _content(line)
                if content is None or content.get("previous_sha256") != previous or not _is_intact(content):
                    msg = (
                        f"Read {path.name} of the journal in {self.folder}: the entry on line {number}, or the one "
                        "before it, is not what was entered. Expected that entries are only ever added; restore the "
                        "file, then correct by `tokenledger score correct`."
                    )
                    raise PermanentSourceError(msg)
                yield _Line(path, line, content)
                previous = _line_sha256(line)


@dataclass(frozen=True)
class _Line:
    """One line of a journal, and the file that it stands in."""

    path: Path
    line: bytes
    content: dict[str, Any]


def _content(line: bytes) -> dict[str, Any] | None:
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) and line.endswith(b"\n") else None


def _is_intact(content: Mapping[str, Any]) -> bool:
    others = {name: value for name, value in content.items() if name != "entry_id"}
    return content.get("entry_id") == hashlib.sha256(canonical(others)).hexdigest()[:16]


def _line_sha256(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Replace a file as a whole, durably."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def replacing(
    entry: Mapping[str, Any], *, score: float | None, entered_by: str, reason: str, evidence: str | None = None
) -> Entry:
    """Give the entry that corrects one, or withdraws it when there is no score."""
    return Entry(
        kpi_name=entry["kpi_name"],
        use_case_id=entry["use_case_id"],
        use_case_version=entry["use_case_version"],
        use_case_instance_id=entry["use_case_instance_id"],
        score=score,
        scored_at=datetime.fromisoformat(entry["scored_at"]),
        provenance=entry["provenance"],
        entered_by=entered_by,
        reason=reason,
        evidence=evidence,
        replaces_entry_id=entry["entry_id"],
    )


# ---- what may be entered

_LIKERT_TOPS = {"likert5": 5.0, "likert7": 7.0, "likert10": 10.0}


def scale_problem(kpi_name: str, use_case_id: str, score: float, kpis: list[dict[str, str]]) -> str | None:
    """Say why a score cannot be one of a KPI; None when it can.

    Args:
        kpi_name: The KPI.
        use_case_id: The use case.
        score: In the KPI's unit.
        kpis: Rows of seed_kpis.csv.
    """
    of_use_case = [row for row in kpis if row["use_case_id"] == use_case_id]
    kpi = next((row for row in of_use_case if row["kpi_name"] == kpi_name), None)
    if kpi is None:
        known = ", ".join(row["kpi_name"] for row in of_use_case) or "none"
        return f"{use_case_id} has no KPI {kpi_name!r}; seed_kpis.csv has: {known}"
    low, high = -SCORE_LIMIT, SCORE_LIMIT
    if kpi["kpi_type"] == "boolean" or kpi["kpi_type"] == "percentage" or kpi.get("unit") == "share":
        low, high = 0.0, 1.0
    elif kpi["kpi_type"] in _LIKERT_TOPS:
        low, high = 1.0, _LIKERT_TOPS[kpi["kpi_type"]]
    is_right = low <= score <= high and abs(score) < SCORE_LIMIT
    if kpi["kpi_type"] == "boolean":
        is_right = score in (0.0, 1.0)
    return (
        None if is_right else f"{kpi_name} is a {kpi['kpi_type']}; {score:g} is not on its scale, {low:g} to {high:g}"
    )


# ---- the source


def _reading(options: ManualScoresOptions) -> KpiOptions:
    """Give the mapping of a journal's lines: scores by their canonical names, and who, when and why beside them."""
    columns: dict[str, Any] = {name: name for name in _SCORE}
    return KpiOptions(name=options.name, kind=options.kind, columns=columns, keep_unmapped=True)


def _read(options: ManualScoresOptions, context: PullContext) -> Iterator[InputPull]:
    journal = Journal(options.folder, context.landed)
    journal.compare()
    reading = _reading(options)

    def read(path: Path, input_uri: str) -> Iterator[Batch]:
        journal.check(path)
        return score_batches(path, input_uri, reading)

    for path in journal.files():
        yield file_input(path, f"{options.path.label}{options.path.pattern}/{path.name}", read)


def _check(options: ManualScoresOptions, context: PullContext) -> str:
    entries = list(Journal(options.folder, context.landed).entries())
    return f"{options.path.pattern}: {len(entries):,} entries, the chain holds"


connector = Connector(
    kind="manual_scores",
    feed="kpis",
    entities=(replace(SCORES, may_be_empty=True),),
    options=ManualScoresOptions,
    read=_read,
    check=_check,
    staged_with="kpi_files",
)
