"""The landing zone: immutable, content-addressed Parquet files and the manifest that makes them exist.

A landing is one input of one source, for one entity. Its files are written under a temporary name, hashed,
renamed to their hash, and then named by one manifest file, whose rename is the commit. A file that no
manifest names does not exist for readers. A changed input lands anew and supersedes its former landing; an input that
counts no more is withdrawn by a landing without records. Nothing is ever overwritten or deleted, so what was
current at any instant can be told. Reading wire formats belongs to `sources/`; views and tables over the files
belong to `raw.py`.
"""

import hashlib
import json
import os
import shutil
import traceback
import uuid
from collections import OrderedDict
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, NoReturn, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock

from dagster_project.errors import PermanentSourceError, TokenledgerError, TransientSourceError
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

LANDING_COLUMNS = pa.schema(
    [
        ("source_name", pa.string()),
        ("landed_at", UTC_TIMESTAMP),
        ("input_uri", pa.string()),
        ("record_index", pa.int64()),
    ]
)
REJECT_SCHEMA = pa.schema(
    [*LANDING_COLUMNS, ("reason_code", pa.string()), ("reason", pa.string()), ("raw_text", pa.string())]
)

_PACKAGE = __name__.partition(".")[0]

# One row group of DuckDB's own size; smaller ones make readers slower, larger ones cost memory here.
_ROW_GROUP_ROWS = 122_880
_PENDING_LIMIT_BYTES = 192 * 1024 * 1024
_SLICED_PART_SHARE = 8
_PENDING_REJECTS = 2_000
_OPEN_FILES_LIMIT = 128
_READ_AHEAD_BATCHES = 2
_HASH_CHUNK_BYTES = 1024 * 1024
_ORPHAN_AGE = timedelta(days=1)
_REFUSED_CODE = "version_refused"
_SHOWN_REASONS = 5

# More digits than any sum here has, so that adding up never rounds.
_EXACT = Context(prec=100)


@dataclass(frozen=True)
class LandingFile:
    """One Parquet file of a landing.

    Attributes:
        path: Absolute path.
        event_date: UTC day of all its records; None for undated entities and for rejects.
        rows: Number of records.
        bytes: Size of the file.
        sha256: Hash of the file's bytes; the first 32 digits are its name.
    """

    path: Path
    event_date: date | None
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Landing:
    """What one manifest file says: one input of one source, landed for one entity.

    `rows_read = rows_landed + rows_rejected` always holds. `tokens_in` and `tokens_out` are the sums of the
    entity's token columns as reported (None when it has none); `amounts` are exact decimal sums as text, by
    column. A landing that `is_withdrawal` has no records: from `landed_at` on, what it supersedes does not count.
    `columns_sha256` is the entity's `columns_sha256` when it was landed; empty where that is not known.
    """

    landing_id: str
    source_name: str
    kind: str
    feed: str
    entity: str
    input_uri: str
    input_sha256: str
    input_bytes: int
    input_stamp: str
    reading_sha256: str
    landed_at: datetime
    rows_read: int
    rows_landed: int
    rows_rejected: int
    files: tuple[LandingFile, ...]
    rejects_file: LandingFile | None
    min_event_at: datetime | None
    max_event_at: datetime | None
    tokens_in: int | None
    tokens_out: int | None
    amounts: dict[str, str]
    supersedes: str | None
    is_withdrawal: bool = False
    columns_sha256: str = ""

    @property
    def event_dates(self) -> frozenset[date]:
        """The UTC days that its records fall on."""
        return frozenset(file.event_date for file in self.files if file.event_date is not None)


@dataclass(frozen=True)
class SourceFailure:
    """An input that could not be landed; its former landing, if any, stays current.

    Attributes:
        source_name: The configured source.
        kind: Its connector.
        input_uri: The input; None when the source's inputs could not even be listed.
        is_transient: Whether the same pull may succeed later without a change.
        message: What was tried, observed, expected, and what to do next.
        last_good_at: When the version landed that stays in force; None when nothing may stand in.
    """

    source_name: str
    kind: str
    input_uri: str | None
    is_transient: bool
    message: str
    last_good_at: datetime | None = None


def columns_sha256(entity: Entity) -> str:
    """Hash the columns of an entity's landing files, of those of its rejects too."""
    parts = [str(schema) for schema in (LANDING_COLUMNS, entity.schema, REJECT_SCHEMA)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class LandingZone:
    """The landing files below one folder. Several processes may use the same folder at once.

    Args:
        root: The folder; created when something is landed.
        hash_key: Key of the pseudonyms of users; without one their identifiers do not land.
    """

    def __init__(self, root: Path, *, hash_key: bytes | None = None) -> None:
        self.root = Path(root)
        self.hash_key = hash_key
        self._manifests: dict[str, _Manifest] = {}

    @property
    def fetched_dir(self) -> Path:
        """Where connectors keep what they fetch, to read it as a file."""
        return self.root / "_fetched"

    # ---- reading

    def all(self, kind: str | None = None) -> list[Landing]:
        """Give every committed landing, superseded ones and withdrawals too, ordered by source, input and time."""
        landings = [item for manifest in self._read_manifests(kind) for item in manifest.landings.values()]
        return sorted(landings, key=_order)

    def current(self, kind: str | None = None) -> list[Landing]:
        """Give the landings that no later landing supersedes or withdraws, ordered by source and input."""
        landings = [item for manifest in self._read_manifests(kind) for item in manifest.current()]
        return sorted(landings, key=_order)

    def file_paths(self, kind: str, entity: str) -> list[Path]:
        """Give the live data files of an entity."""
        landings = [item for item in self.current(kind) if item.entity == entity]
        return [file.path for landing in landings for file in landing.files]

    def reject_paths(self, kind: str, entity: str) -> list[Path]:
        """Give the live files of an entity's rejected records."""
        landings = [item for item in self.current(kind) if item.entity == entity]
        return [landing.rejects_file.path for landing in landings if landing.rejects_file]

    def touched_dates(self, landing: Landing) -> frozenset[date]:
        """Give the days that a landing changes: its own, and those of the landing that it supersedes."""
        former = [item for item in self.all(landing.kind) if item.landing_id == landing.supersedes]
        return landing.event_dates.union(*(item.event_dates for item in former))

    def landed_inputs(self, connector: Connector, options: SourceOptions) -> dict[str, LandedInput]:
        """Give a source's inputs whose current landings are all of the same content."""
        reading = self._reading_sha256(connector, options)
        found: dict[str, list[Landing]] = {}
        for item in self.current(connector.kind):
            if item.source_name == options.name:
                found.setdefault(item.input_uri, []).append(item)
        return {
            input_uri: LandedInput(
                landed_at=min(item.landed_at for item in items),
                sha256=items[0].input_sha256,
                size_bytes=items[0].input_bytes,
                is_current_reading=len(items) == len(connector.entities)
                and all(item.reading_sha256 == reading for item in items),
            )
            for input_uri, items in found.items()
            if len({item.input_sha256 for item in items}) == 1
        }

    # ---- writing

    def land(self, connector: Connector, options: SourceOptions, pull: InputPull, *, now: datetime) -> list[Landing]:
        """Land one input, for each entity of its connector, unless it is landed already.

        Returns:
            One landing per entity; an unchanged input gives its existing landings.

        Raises:
            PermanentSourceError: the input cannot be read, its batches break the contract, or it is a version that is
                refused as a whole.
            TransientSourceError: the input vanished or changed while it was read.
        """
        reading = self._reading_sha256(connector, options, pull.reading)
        existing = self._existing(connector, options, pull.input_uri)
        if existing and pull.stamp and all(_is_same(item, reading, stamp=pull.stamp) for item in existing):
            return existing
        identity = pull.identify()
        if existing and all(_is_same(item, reading, identity=identity) for item in existing):
            return existing
        work = self.root / "_tmp" / uuid.uuid4().hex
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, work, ignore_errors=True)
            writers = {
                entity.name: stack.enter_context(
                    _EntityWriter(work / entity.name, entity, _Stamps(options.name, now, pull.input_uri))
                )
                for entity in connector.entities
            }
            with _ReadAhead(pull.batches()) as batches:
                for batch in batches:
                    writers[batch.entity].add(self._without_users(batch, connector.entity(batch.entity), options))
            written = {name: writer.finish() for name, writer in writers.items()}
            is_strict = options.on_drift == "stop" or (connector.is_whole and bool(existing))
            if is_strict and any(item.rows_rejected for item in written.values()):
                self._refuse(connector, options, pull, now=now)
            return [
                self._commit(
                    connector=connector,
                    options=options,
                    pull=pull,
                    identity=identity,
                    reading=reading,
                    now=now,
                    entity=entity,
                    written=written[entity.name],
                )
                for entity in connector.entities
            ]

    def _refuse(self, connector: Connector, options: SourceOptions, pull: InputPull, *, now: datetime) -> NoReturn:
        """Land every record of a version as a reject, beside the version that stays, and say what is wrong."""

        def refused() -> Iterator[Batch]:
            for batch in pull.batches():
                yield _as_rejects(self._without_users(batch, connector.entity(batch.entity), options))

        landings = self.land(
            replace(connector, is_whole=False),
            options.model_copy(update={"on_drift": "reject"}),
            replace(pull, input_uri=refused_uri(pull.input_uri), stamp="", batches=refused),
            now=now,
        )
        reasons = [
            f"row {row['record_index'] + 1}: {row['reason']}"
            for landing in landings
            if landing.rejects_file
            for row in pq.read_table(landing.rejects_file.path).to_pylist()
            if row["reason_code"] != _REFUSED_CODE
        ]
        more = f"; and {len(reasons) - _SHOWN_REASONS} more" if len(reasons) > _SHOWN_REASONS else ""
        msg = (
            f"Read {pull.input_uri}: {'; '.join(reasons[:_SHOWN_REASONS])}{more}. The version is refused as a "
            "whole and kept as rejected rows; correct these rows."
        )
        raise PermanentSourceError(msg)

    def _without_users(self, batch: Batch, entity: Entity, options: SourceOptions) -> Batch:
        """Put the users' pseudonyms in the place of their identifiers; null where there is no key."""
        if options.keep_user_ids or batch.has_pseudonyms or not entity.user_columns:
            return batch
        records = batch.records
        for name in entity.user_columns:
            position = records.schema.get_field_index(name)
            users = self._pseudonyms(records.column(name))
            records = records.set_column(position, records.schema.field(position), users)
        return replace(batch, records=records)

    def _pseudonyms(self, users: pa.Array) -> pa.Array:
        if self.hash_key is None:
            return pa.nulls(len(users), users.type)
        encoded = users.dictionary_encode()
        key = self.hash_key
        hashed = pa.array([None if user is None else hashed_user(user, key) for user in encoded.dictionary.to_pylist()])
        return hashed.cast(users.type).take(encoded.indices)

    def _reading_sha256(self, connector: Connector, options: SourceOptions, pull_reading: str = "") -> str:
        """Hash everything that decides how the content of an input is read."""
        schemas = [f"{entity.name} {entity.schema} {entity.day_column}" for entity in connector.entities]
        parts = [connector.version, schemas, options.reading_sha256(), *([pull_reading] if pull_reading else [])]
        if self.hash_key and not options.keep_user_ids and any(entity.user_columns for entity in connector.entities):
            parts.append(hashed_user("", self.hash_key))
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def withdraw(self, kind: str, source_name: str, *, now: datetime, listed: Collection[str] = ()) -> list[Landing]:
        """Withdraw what a source landed from inputs that are not listed; the files stay, and stay in `all`.

        Args:
            kind: Kind of the source.
            source_name: The source.
            now: UTC instant from which it does not count.
            listed: Inputs that still count; none withdraws the whole source.

        Returns:
            The withdrawals, one per entity and input; empty when there is nothing to withdraw.
        """
        if not any(item.source_name == source_name and item.input_uri not in listed for item in self.current(kind)):
            return []
        with FileLock(self.root / "_manifest" / kind / ".lock"):
            [manifest] = self._read_manifests(kind)
            former = [
                item for item in manifest.current() if item.source_name == source_name and item.input_uri not in listed
            ]
            withdrawals = [_withdrawal(item, now) for item in sorted(former, key=_order)]
            for withdrawal in withdrawals:
                manifest.write(withdrawal)
        return withdrawals

    def kinds(self) -> list[str]:
        """Give the kinds that ever landed anything, sorted."""
        return sorted(path.name for path in (self.root / "_manifest").glob("*") if path.is_dir())

    def sweep(self, *, now: datetime, older_than: timedelta = _ORPHAN_AGE) -> int:
        """Delete what killed runs left behind: files that no manifest names, older than `older_than`.

        Returns:
            Number of files deleted.
        """
        named = {file.path for landing in self.all() for file in landing.files}
        named |= {item.rejects_file.path for item in self.all() if item.rejects_file}
        limit_s = (now - older_than).timestamp()
        deleted = 0
        for path in sorted(self.root.rglob("*")):
            if path.suffix != ".parquet" or path in named or path.stat().st_mtime >= limit_s:
                continue
            path.unlink(missing_ok=True)
            deleted += 1
        return deleted

    def refresh(self, kind: str) -> None:
        """Look for landings that another process committed."""
        self._manifest(kind).refresh()

    def _read_manifests(self, kind: str | None) -> list["_Manifest"]:
        """Bring the manifest of a kind, or of all, up to date with the disk."""
        kinds = [kind] if kind else self.kinds()
        for name in kinds:
            self._manifest(name).refresh()
        return [self._manifests[name] for name in kinds]

    def _manifest(self, kind: str) -> "_Manifest":
        """Give the manifest of a kind as it was last read; it is read when it was not yet."""
        if kind not in self._manifests:
            self._manifests[kind] = _Manifest(self.root, kind)
            self._manifests[kind].refresh()
        return self._manifests[kind]

    def _existing(self, connector: Connector, options: SourceOptions, input_uri: str) -> list[Landing]:
        """Give the input's current landings when there is one for every entity, else nothing.

        Another process may have landed the input since the manifest was read; the commit looks again.
        """
        manifest = self._manifest(connector.kind)
        found = [manifest.head(entity.name, options.name, input_uri) for entity in connector.entities]
        landings = [landing for landing in found if landing is not None and not landing.is_withdrawal]
        return landings if len(landings) == len(found) else []

    def _commit(
        self,
        *,
        connector: Connector,
        options: SourceOptions,
        pull: InputPull,
        identity: InputIdentity,
        reading: str,
        now: datetime,
        entity: Entity,
        written: "_Written",
    ) -> Landing:
        folder = self.root / "_manifest" / connector.kind
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            [manifest] = self._read_manifests(connector.kind)
            former = manifest.head(entity.name, options.name, pull.input_uri)
            if former and _is_same(former, reading, identity=identity):
                return former
            supersedes = former.landing_id if former else None
            seed = [connector.kind, entity.name, options.name, pull.input_uri, identity.sha256, reading]
            landing = Landing(
                landing_id=_landing_id(*seed, supersedes),
                source_name=options.name,
                kind=connector.kind,
                feed=connector.feed,
                entity=entity.name,
                input_uri=pull.input_uri,
                input_sha256=identity.sha256,
                input_bytes=identity.size_bytes,
                input_stamp=pull.stamp,
                reading_sha256=reading,
                landed_at=now,
                rows_read=written.rows_read,
                rows_landed=written.rows_landed,
                rows_rejected=written.rows_rejected,
                files=tuple(self._place(item, connector.kind, entity.name) for item in written.files),
                rejects_file=self._place(written.rejects_file, connector.kind, f"{entity.name}_rejected")
                if written.rejects_file
                else None,
                min_event_at=written.min_event_at,
                max_event_at=written.max_event_at,
                tokens_in=written.tokens_in,
                tokens_out=written.tokens_out,
                amounts=written.amounts,
                supersedes=supersedes,
                columns_sha256=columns_sha256(entity),
            )
            manifest.write(landing)
        return landing

    def _place(self, file: LandingFile, kind: str, table: str) -> LandingFile:
        """Move a finished file from its temporary name to its content address."""
        folder = self.root / kind / table
        if file.event_date:
            folder /= f"event_date={file.event_date.isoformat()}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{file.sha256[:32]}.parquet"
        file.path.replace(path)
        return LandingFile(path, file.event_date, file.rows, file.bytes, file.sha256)


class _Manifest:
    """The manifest of one kind: one JSON file for each landing, read once because none ever changes.

    Args:
        root: Root of the landing zone.
        kind: Kind of source.
    """

    def __init__(self, root: Path, kind: str) -> None:
        self.landings: dict[str, Landing] = {}
        self._root = root
        self._folder = root / "_manifest" / kind
        self._superseded: set[str] = set()
        self._of_input: dict[tuple[str, str, str], list[Landing]] = {}

    def refresh(self) -> None:
        """Read the files that appeared since the last time; start over when one disappeared."""
        try:
            names = {entry.name for entry in os.scandir(self._folder) if entry.name.endswith(".json")}
        except FileNotFoundError:
            names = set()
        if not names >= self.landings.keys():
            self.landings.clear()
            self._superseded.clear()
            self._of_input.clear()
        for name in sorted(names - self.landings.keys()):
            self._add(name, self._load(self._folder / name))

    def current(self) -> list[Landing]:
        """Give the landings that no other supersedes, and that are no withdrawals."""
        return [
            item
            for item in self.landings.values()
            if item.landing_id not in self._superseded and not item.is_withdrawal
        ]

    def head(self, entity: str, source_name: str, input_uri: str) -> Landing | None:
        """Give the latest landing of an input, be it a withdrawal."""
        landings = self._of_input.get((entity, source_name, input_uri), [])
        return next((item for item in landings if item.landing_id not in self._superseded), None)

    def write(self, landing: Landing) -> None:
        """Commit a landing: the rename makes it exist."""
        name = f"{landing.landing_id}.json"
        temporary = self._folder / f".{uuid.uuid4().hex}.tmp"
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(_to_json(landing, self._root), stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._folder / name)
        self._add(name, landing)

    def _add(self, name: str, landing: Landing) -> None:
        self.landings[name] = landing
        self._of_input.setdefault((landing.entity, landing.source_name, landing.input_uri), []).append(landing)
        if landing.supersedes:
            self._superseded.add(landing.supersedes)

    def _load(self, path: Path) -> Landing:
        try:
            return _from_json(json.loads(path.read_text(encoding="utf-8")), self._root)
        except (ValueError, KeyError, TypeError) as error:
            msg = (
                f"Read the landing manifest {path}: {error!r}, expected a complete manifest. "
                "Restore it, or delete it to land its input anew."
            )
            raise PermanentSourceError(msg) from error


def pull_source(
    zone: LandingZone,
    connector: Connector,
    options: SourceOptions,
    *,
    now: datetime,
    reference_dir: Path | None = None,
) -> list[Landing | SourceFailure]:
    """Land every input of a source; an input that fails does not stop the others.

    Of a snapshot, what an earlier pull landed from inputs that are not listed any more is withdrawn, once all that
    are listed have landed.

    Args:
        zone: Where to land.
        connector: The connector of `options.kind`.
        options: The configured source.
        now: UTC instant of the pull, written as `landed_at`; a landing in the result is new when it has this
            time.
        reference_dir: Folder of the company's reference data; None when there is none.

    Returns:
        The source's landings, existing ones of unchanged inputs included, and its failures, in the inputs'
        order.
    """
    now = now.astimezone(UTC)
    zone.refresh(connector.kind)
    results: list[Landing | SourceFailure] = []
    context = PullContext(now, zone.fetched_dir, reference_dir, zone.landed_inputs(connector, options), zone.hash_key)
    inputs = _inputs(connector, options, context)
    input_uri: str | None = None
    listed: set[str] = set()
    while True:
        try:
            input_uri = None
            pull = next(inputs, None)
            if pull is None:
                break
            input_uri = pull.input_uri
            listed.add(input_uri)
            results.extend(zone.land(connector, options, pull, now=now))
        except Exception as error:  # noqa: BLE001 - one input does not stop the others, whatever is wrong with it
            is_transient = isinstance(error, TransientSourceError)
            message = failure_message(error, f"Read {input_uri or f'the inputs of {options.name}'}")
            last_good_at = _last_good_at(zone, connector, options, input_uri)
            results.append(SourceFailure(options.name, options.kind, input_uri, is_transient, message, last_good_at))
    _withdraw_refusals(zone, connector, options, results, now=now)
    if connector.is_snapshot and not any(isinstance(item, SourceFailure) for item in results):
        zone.withdraw(connector.kind, options.name, now=now, listed=listed)
    return results


def _inputs(connector: Connector, options: SourceOptions, context: PullContext) -> Iterator[InputPull]:
    yield from connector.read(options, context)


def failure_message(error: Exception, what: str) -> str:
    """Say what went wrong with a source.

    Of an error that nobody foresaw only the type and the place in the code are said: its text may hold anything, a key
    or what somebody wrote.

    Args:
        error: The error.
        what: What was tried.
    """
    if isinstance(error, TokenledgerError):
        return str(error)
    said = [type(error).__name__, *([error.strerror] if isinstance(error, OSError) and error.strerror else [])]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _PACKAGE in Path(frame.filename).parts] or frames
    place = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    return (
        f"{what}: {': '.join(said)}{place}, which was not foreseen. Expected content that can be read, or is refused "
        "with a reason. Pull again; if it stays, correct the source or report the place."
    )


def refused_uri(input_uri: str) -> str:
    """Name the refused version of an input, under which its records are kept as rejects."""
    return f"{input_uri} (refused)"


def _withdraw_refusals(
    zone: LandingZone,
    connector: Connector,
    options: SourceOptions,
    results: Iterable[Landing | SourceFailure],
    *,
    now: datetime,
) -> None:
    """Withdraw the refused versions of inputs that have landed since."""
    landed = {refused_uri(item.input_uri) for item in results if isinstance(item, Landing)}
    current = {item.input_uri for item in zone.current(connector.kind) if item.source_name == options.name}
    if current & landed:
        zone.withdraw(connector.kind, options.name, now=now, listed=current - landed)


def _as_rejects(batch: Batch) -> Batch:
    records = batch.records.to_pylist()
    rejects = [
        Reject.of(index, _REFUSED_CODE, "another record of the version cannot be landed", json.dumps(row, default=str))
        for index, row in zip(batch.record_index.to_pylist(), records, strict=True)
    ]
    none = batch.records.slice(0, 0)
    return Batch(batch.entity, none, pa.array([], pa.int64()), batch.rows_read, (*batch.rejects, *rejects))


def _last_good_at(
    zone: LandingZone, connector: Connector, options: SourceOptions, input_uri: str | None
) -> datetime | None:
    """Say when the version of a rate card landed that stays in force while it cannot be read."""
    if connector.feed != "rates":
        return None
    found = [
        item.landed_at
        for item in zone.current(connector.kind)
        if item.source_name == options.name and item.rows_landed and input_uri in (None, item.input_uri)
    ]
    return max(found, default=None)


# ---- identity


def _order(landing: Landing) -> tuple[str, str, str, str, datetime, str]:
    place = (landing.kind, landing.entity, landing.source_name, landing.input_uri)
    return (*place, landing.landed_at, landing.landing_id)


def _landing_id(*seed: str | None) -> str:
    return hashlib.sha256(json.dumps(seed).encode()).hexdigest()[:32]


def _withdrawal(landing: Landing, now: datetime) -> Landing:
    return Landing(
        landing_id=_landing_id("withdrawal", landing.landing_id),
        source_name=landing.source_name,
        kind=landing.kind,
        feed=landing.feed,
        entity=landing.entity,
        input_uri=landing.input_uri,
        input_sha256="",
        input_bytes=0,
        input_stamp="",
        reading_sha256="",
        landed_at=now,
        rows_read=0,
        rows_landed=0,
        rows_rejected=0,
        files=(),
        rejects_file=None,
        min_event_at=None,
        max_event_at=None,
        tokens_in=None,
        tokens_out=None,
        amounts={},
        supersedes=landing.landing_id,
        is_withdrawal=True,
    )


def _is_same(
    landing: Landing, reading: str, *, stamp: str | None = None, identity: InputIdentity | None = None
) -> bool:
    if landing.reading_sha256 != reading:
        return False
    if identity is not None:
        return landing.input_sha256 == identity.sha256
    return landing.input_stamp == stamp


# ---- manifest text


def _to_json(landing: Landing, root: Path) -> dict[str, Any]:
    def file_json(file: LandingFile) -> dict[str, Any]:
        return {
            "path": file.path.relative_to(root).as_posix(),
            "event_date": file.event_date.isoformat() if file.event_date else None,
            "rows": file.rows,
            "bytes": file.bytes,
            "sha256": file.sha256,
        }

    def at(value: datetime | None) -> str | None:
        return value.isoformat() if value else None

    content = dict(landing.__dict__)
    content["files"] = [file_json(file) for file in landing.files]
    content["rejects_file"] = file_json(landing.rejects_file) if landing.rejects_file else None
    for name in ("landed_at", "min_event_at", "max_event_at"):
        content[name] = at(content[name])
    return content


def _from_json(content: dict[str, Any], root: Path) -> Landing:
    def file_of(item: dict[str, Any]) -> LandingFile:
        day = date.fromisoformat(item["event_date"]) if item["event_date"] else None
        return LandingFile(root / item["path"], day, item["rows"], item["bytes"], item["sha256"])

    content = dict(content)
    content["files"] = tuple(file_of(item) for item in content["files"])
    content["rejects_file"] = file_of(content["rejects_file"]) if content["rejects_file"] else None
    for name in ("landed_at", "min_event_at", "max_event_at"):
        content[name] = datetime.fromisoformat(content[name]) if content[name] else None
    return Landing(**content)


# ---- writing Parquet


@dataclass(frozen=True)
class _Stamps:
    """The landing columns that are the same in every row of an input."""

    source_name: str
    landed_at: datetime
    input_uri: str

    def columns(self, rows: int) -> list[pa.Array]:
        def constant(text: str) -> pa.Array:
            return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([text]))

        landed_at = pa.repeat(pa.scalar(self.landed_at, UTC_TIMESTAMP), rows)
        return [constant(self.source_name), landed_at, constant(self.input_uri)]


@dataclass
class _Written:
    """What a writer has put into its temporary folder."""

    rows_read: int = 0
    rows_landed: int = 0
    rows_rejected: int = 0
    files: list[LandingFile] = field(default_factory=list)
    rejects_file: LandingFile | None = None
    min_event_at: datetime | None = None
    max_event_at: datetime | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    amounts: dict[str, str] = field(default_factory=dict)


class _ParquetFile:
    """One Parquet file being written under a temporary name."""

    def __init__(self, path: Path, schema: pa.Schema, day: date | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.day = day
        self.rows = 0
        text = [item.name for item in schema if _is_text(item.type) and not item.name.endswith("_id")]
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=text,
            store_schema=False,
        )

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
        self.rows += table.num_rows

    def close(self) -> LandingFile:
        self._writer.close()
        digest = hashlib.sha256()
        with self.path.open("rb") as stream:
            while chunk := stream.read(_HASH_CHUNK_BYTES):
                digest.update(chunk)
            os.fsync(stream.fileno())
        return LandingFile(self.path, self.day, self.rows, self.path.stat().st_size, digest.hexdigest())

    def abort(self) -> None:
        self._writer.close()


class _EntityWriter:
    """Writes the batches of one input and entity: data files by day, one file of rejects, and the sums.

    Rows wait in memory by day until a day fills a row group or all days together reach a fixed size, so that
    memory does not grow with the input. Within a file, rows keep the input's order.
    """

    def __init__(self, folder: Path, entity: Entity, stamps: _Stamps) -> None:
        self._folder = folder
        self._entity = entity
        self._stamps = stamps
        text = pa.dictionary(pa.int32(), pa.string())
        stamped = [("source_name", text), ("landed_at", UTC_TIMESTAMP), ("input_uri", text)]
        self._schema = pa.schema([*stamped, ("record_index", pa.int64()), *entity.schema])
        self._pending: dict[date | None, list[pa.RecordBatch]] = {}
        self._pending_rows: dict[date | None, int] = {}
        self._pending_bytes = 0
        self._open: OrderedDict[date | None, _ParquetFile] = OrderedDict()
        self._rejects: list[Reject] = []
        self._rejects_file: _ParquetFile | None = None
        self._sequence = 0
        self._amounts = dict.fromkeys(entity.amount_columns, 0)
        self._written = _Written()
        if entity.token_columns:
            self._written.tokens_in = self._written.tokens_out = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.abort()
        if self._rejects_file:
            self._rejects_file.abort()

    def add(self, batch: Batch) -> None:
        """Take a batch in; raises PermanentSourceError when it breaks the conservation of rows."""
        rows = batch.records.num_rows
        if batch.rows_read != rows + len(batch.rejects):
            msg = (
                f"Landed a batch of {self._stamps.input_uri}: {batch.rows_read} rows read, but {rows} "
                "readable and "
                f"{len(batch.rejects)} rejected. Every row must be one or the other; correct the connector."
            )
            raise PermanentSourceError(msg)
        self._written.rows_read += batch.rows_read
        self._written.rows_landed += rows
        self._written.rows_rejected += len(batch.rejects)
        self._rejects.extend(batch.rejects)
        if len(self._rejects) >= _PENDING_REJECTS:
            self._flush_rejects()
        if rows:
            self._sum(batch.records)
            stamped = pa.RecordBatch.from_arrays(
                [*self._stamps.columns(rows), batch.record_index, *batch.records.columns], schema=self._schema
            )
            for day, part in self._by_day(stamped):
                self._queue(day, part)

    def finish(self) -> _Written:
        """Write what is pending, close and hash all files."""
        for day in list(self._pending):
            self._flush(day)
        while self._open:
            self._written.files.append(self._open.popitem(last=False)[1].close())
        self._flush_rejects()
        if self._rejects_file:
            self._written.rejects_file = self._rejects_file.close()
            self._rejects_file = None
        self._written.files.sort(key=lambda file: (file.event_date or date.min, file.path.name))
        scale = {item.name: item.type.scale for item in self._entity.schema if item.name in self._amounts}
        self._written.amounts = {
            name: format(_EXACT.scaleb(Decimal(total), -scale[name]), "f") for name, total in self._amounts.items()
        }
        return self._written

    def _by_day(self, stamped: pa.RecordBatch) -> Iterator[tuple[date | None, pa.RecordBatch]]:
        column = self._entity.day_column
        if column is None:
            yield None, stamped
            return
        values = stamped.column(column)
        if values.null_count:
            msg = (
                f"Landed a batch of {self._stamps.input_uri}: {values.null_count} rows without {column}. "
                "The connector must reject them; correct it."
            )
            raise PermanentSourceError(msg)
        bounds = pc.min_max(values).as_py()
        self._see_times(bounds["min"], bounds["max"])
        days = values.cast(pa.date32()).cast(pa.int32()).to_numpy()
        if days.min() == days.max():
            yield _day(days[0]), stamped
            return
        order = np.argsort(days, kind="stable")
        starts = np.flatnonzero(np.diff(days[order])) + 1
        for indices in np.split(order, starts):
            first, rows = int(indices[0]), len(indices)
            is_run = int(indices[-1]) - first == rows - 1
            # A slice keeps its whole batch in memory until its day is written, so a small part is copied
            # instead.
            if is_run and rows * _SLICED_PART_SHARE >= stamped.num_rows:
                yield _day(days[first]), stamped.slice(first, rows)
            else:
                yield _day(days[first]), stamped.take(pa.array(indices))

    def _see_times(self, low: datetime | date, high: datetime | date) -> None:
        if not isinstance(low, datetime) or not isinstance(high, datetime):
            return
        written = self._written
        low, high = low.astimezone(UTC), high.astimezone(UTC)
        written.min_event_at = min(low, written.min_event_at or low)
        written.max_event_at = max(high, written.max_event_at or high)

    def _queue(self, day: date | None, part: pa.RecordBatch) -> None:
        self._pending.setdefault(day, []).append(part)
        self._pending_rows[day] = self._pending_rows.get(day, 0) + part.num_rows
        self._pending_bytes += part.nbytes
        if self._pending_rows[day] >= _ROW_GROUP_ROWS:
            self._flush(day)
        if self._pending_bytes >= _PENDING_LIMIT_BYTES:
            for pending in list(self._pending):
                self._flush(pending)

    def _flush(self, day: date | None) -> None:
        parts = self._pending.pop(day)
        self._pending_rows.pop(day)
        self._pending_bytes -= sum(part.nbytes for part in parts)
        self._file(day).write(pa.Table.from_batches(parts).combine_chunks())

    def _file(self, day: date | None) -> _ParquetFile:
        if day in self._open:
            self._open.move_to_end(day)
            return self._open[day]
        if len(self._open) >= _OPEN_FILES_LIMIT:
            self._written.files.append(self._open.popitem(last=False)[1].close())
        self._sequence += 1
        self._open[day] = _ParquetFile(self._folder / f"{self._sequence:06}.parquet", self._schema, day)
        return self._open[day]

    def _flush_rejects(self) -> None:
        if not self._rejects:
            return
        if self._rejects_file is None:
            self._rejects_file = _ParquetFile(self._folder / "rejects.parquet", REJECT_SCHEMA, None)
        rows = len(self._rejects)
        columns = [
            *(_plain(column) for column in self._stamps.columns(rows)),
            *(pa.array([getattr(item, name) for item in self._rejects]) for name in REJECT_SCHEMA.names[3:]),
        ]
        self._rejects_file.write(pa.Table.from_arrays(columns, schema=REJECT_SCHEMA))
        self._rejects.clear()

    def _sum(self, records: pa.RecordBatch) -> None:
        if self._entity.token_columns:
            first, second = self._entity.token_columns
            self._written.tokens_in = (self._written.tokens_in or 0) + _exact_sum(records.column(first))
            self._written.tokens_out = (self._written.tokens_out or 0) + _exact_sum(records.column(second))
        for name in self._amounts:
            column = records.column(name)
            total = pc.sum(column.cast(pa.decimal256(76, column.type.scale))).as_py()
            self._amounts[name] += int(_EXACT.scaleb(total, column.type.scale)) if total is not None else 0


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_dictionary(kind)


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _day(days_since_epoch: int) -> date:
    return date(1970, 1, 1) + timedelta(days=int(days_since_epoch))


def _exact_sum(column: pa.Array) -> int:
    """Sum int64 values exactly; a sum that could leave 64 bits is taken in decimals."""
    bounds = pc.min_max(column).as_py()
    if bounds["min"] is None:
        return 0
    if max(abs(bounds["min"]), abs(bounds["max"])) * len(column) < 2**63:
        return int(pc.sum(column).as_py())
    return int(pc.sum(column.cast(pa.decimal256(76, 0))).as_py())


class _ReadAhead:
    """Reads batches in a second thread, so that reading and writing overlap.

    An error of the reader is raised where the batches are consumed. Leaving the context stops the reader.
    """

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self._queue: Queue[Batch | BaseException | None] = Queue(maxsize=_READ_AHEAD_BATCHES)
        self._stop = Event()
        self._thread = Thread(target=self._produce, name="landing-reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if isinstance(self._batches, Generator):
            self._batches.close()

    def __iter__(self) -> Iterator[Batch]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def _produce(self) -> None:
        try:
            for batch in self._batches:
                if not self._put(batch):
                    return
            self._put(None)
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, which raises it
            self._put(error)

    def _put(self, item: Batch | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except Full:
                continue
            return True
        return False
