"""Files as inputs: identity, opening, decompression, and the check that a file stood still while it was read.

An object of a store is an input alike: its content is copied when it is wanted, read as a file, and the copy deleted.
Knows bytes and file names, nothing of what is inside; tables are `_tabular.py`'s business, stores `_objects.py`'s.
"""

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from dagster_project.errors import PermanentSourceError, TransientSourceError
from dagster_project.sources._connector import (
    UTC_TIMESTAMP,
    Batch,
    FilePattern,
    FileSourceOptions,
    InputIdentity,
    InputPull,
    ObjectPattern,
    PullContext,
)
from dagster_project.sources._objects import StoredObject, stored_objects

_CHUNK_BYTES = 1024 * 1024
_NAME_DIGITS = 16
# A file that changed more recently than this may change again without a visible change of its times.
_SETTLED_NS = 2_000_000_000
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
_UTF16_OR_32_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
UTF8_MARK = b"\xef\xbb\xbf"


def file_inputs(
    options: FileSourceOptions, context: PullContext, read: Callable[[Path, str], Iterator[Batch]]
) -> Iterator[InputPull]:
    """List a source's files or objects as inputs; `read` is given the path and the input's name.

    Raises:
        PermanentSourceError: nothing matches the configured path, or the object store refuses.
        TransientSourceError: the object store does not answer.
    """
    return inputs_at(options.path, options.storage, context, read)


def inputs_at(
    place: FilePattern | ObjectPattern,
    storage: Mapping[str, Any],
    context: PullContext,
    read: Callable[[Path, str], Iterator[Batch]],
) -> Iterator[InputPull]:
    """List what is at a place as inputs, as `file_inputs` does."""
    if isinstance(place, FilePattern):
        for input_uri, path in place.files():
            yield file_input(path, input_uri, read)
        return
    for item in stored_objects(place, storage):
        # Named by its address: what a killed pull left is overwritten by the next one, and deleted.
        copy = context.fetched_dir / f"{hashlib.sha256(item.url.encode()).hexdigest()[:32]}{item.suffix}"
        pull = _object_input(item, copy, read)
        try:
            yield pull
        finally:
            pull.release()


def _object_input(item: StoredObject, copy: Path, read: Callable[[Path, str], Iterator[Batch]]) -> InputPull:
    """Make an object an input that is copied, when its content is wanted, and then read as a file."""
    as_file = file_input(copy, item.url, read)

    def identify() -> InputIdentity:
        item.copy_to(copy)
        return as_file.identify()

    def batches() -> Iterator[Batch]:
        if not copy.exists():
            item.copy_to(copy)
        yield from as_file.batches()

    return InputPull(
        item.url,
        item.stamp,
        identify,
        batches,
        release=lambda: copy.unlink(missing_ok=True),
        modified_at=item.modified_at,
    )


def file_input(path: Path, input_uri: str, read: Callable[[Path, str], Iterator[Batch]]) -> InputPull:
    """Make one file an input that hashes itself before and checks itself after it is read."""
    seen: dict[str, tuple[os.stat_result, str]] = {}

    def identify() -> InputIdentity:
        with _explained(path, input_uri):
            before = path.stat()
            sha256 = sha256_of(path)
        seen["before"] = (before, sha256)
        return InputIdentity(sha256, before.st_size)

    def batches() -> Iterator[Batch]:
        if "before" not in seen:
            identify()
        before, sha256 = seen["before"]
        with _explained(path, input_uri):
            yield from read(path, input_uri)
            after = path.stat()
            is_same = _times(before) == _times(after) and (_is_settled(before) or sha256_of(path) == sha256)
        if not is_same:
            msg = (
                f"Read {input_uri}: the file changed while it was read ({before.st_size:,} bytes before, "
                f"{after.st_size:,} after), expected a finished file. Pull again when its writer has "
                "finished."
            )
            raise TransientSourceError(msg)

    return InputPull(input_uri, _stamp(path), identify, batches, modified_at=_modified_at(path))


def dated(pull: InputPull) -> InputPull:
    """Write into `modified_at` of an input's records when it was written; what is written again is landed anew.

    Which of several deliveries counts is decided by that time, and must not depend on when each was pulled.
    """
    written_at = pull.modified_at
    if written_at is None:
        return pull

    def batches() -> Iterator[Batch]:
        for batch in pull.batches():
            position = batch.records.schema.get_field_index("modified_at")
            times = pa.repeat(pa.scalar(written_at, UTC_TIMESTAMP), batch.records.num_rows)
            records = batch.records.set_column(position, batch.records.schema.field(position), times)
            yield replace(batch, records=records)

    return replace(pull, batches=batches, reading=written_at.isoformat())


def sha256_of(path: Path) -> str:
    """Hash a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def content_name(path: Path) -> Callable[[], str]:
    """Give what names a file's content wherever the file lies: the beginning of its hash, taken on the first call."""
    return cache(lambda: sha256_of(path)[:_NAME_DIGITS])


def first_bytes(path: Path, count: int = 4) -> bytes:
    """Give the first bytes of a file."""
    with path.open("rb") as stream:
        return stream.read(count)


def compression_of(path: Path, input_uri: str) -> str | None:
    """Give a file's compression by its name, checked against its first bytes.

    Raises:
        PermanentSourceError: name and content disagree.
    """
    named = _COMPRESSIONS.get(path.suffix.lower())
    head = first_bytes(path)
    actual = next((name for name, magic in _MAGIC.items() if head.startswith(magic)), None)
    if named == actual or not head:
        return named
    msg = (
        f"Opened {input_uri}: its name says {named or 'uncompressed'}, its first bytes are {head.hex(' ')}"
        f"{f' ({actual})' if actual else ''}. Expected the two to agree; rename or recompress the file."
    )
    raise PermanentSourceError(msg)


@contextmanager
def open_bytes(path: Path, input_uri: str) -> Iterator[pa.NativeFile]:
    """Open a file for reading, decompressed; a truncated stream raises when its end is reached.

    Raises:
        PermanentSourceError: compression or text encoding is not what the name and the format promise.
    """
    compression = compression_of(path, input_uri)
    with pa.input_stream(str(path), compression=compression, buffer_size=_CHUNK_BYTES) as stream:
        yield stream


def refuse_utf16(head: bytes, input_uri: str) -> None:
    """Raise PermanentSourceError when text begins with a UTF-16 or UTF-32 byte order mark."""
    if head.startswith(_UTF16_OR_32_MARKS):
        msg = (
            f"Opened {input_uri}: it begins with the byte order mark {head[:4].hex(' ')} of UTF-16 or "
            "UTF-32, "
            "expected UTF-8. Convert the file."
        )
        raise PermanentSourceError(msg)


def text_lines(path: Path, input_uri: str, *, limit_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Read a text file line by line, decompressed, as bytes without line ends.

    Yields:
        (line, is_whole): a line longer than `limit_bytes` comes cut, with is_whole False. Blank lines are
        left out.
    """
    with open_bytes(path, input_uri) as stream:
        rest = b""
        is_skipping = False
        is_first = True
        while chunk := stream.read(_CHUNK_BYTES):
            if is_first:
                refuse_utf16(chunk, input_uri)
                chunk = chunk.removeprefix(UTF8_MARK)
                is_first = False
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                if is_skipping:
                    is_skipping = False
                elif text := line.rstrip(b"\r"):
                    yield text, True
            if len(rest) > limit_bytes and not is_skipping:
                yield rest[:limit_bytes], False
                is_skipping = True
            if is_skipping:
                rest = b""
        if rest and not is_skipping and (text := rest.rstrip(b"\r")):
            yield text, True


def _times(status: os.stat_result) -> tuple[int, int, int, int]:
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _is_settled(status: os.stat_result) -> bool:
    return max(status.st_mtime_ns, status.st_ctime_ns) < time.time_ns() - _SETTLED_NS


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    if not _is_settled(status):
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _modified_at(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None


@contextmanager
def _explained(path: Path, input_uri: str) -> Iterator[None]:
    """Turn what the operating system and Arrow say about a file into the project's errors."""
    try:
        yield
    except FileNotFoundError as error:
        if path.exists():
            raise
        msg = (
            f"Read {input_uri}: the file vanished between being listed and being read, expected it to stay. "
            "Pull again; if it is gone for good, what it landed before stays."
        )
        raise TransientSourceError(msg) from error
    except (OSError, pa.ArrowException, UnicodeError) as error:
        code = getattr(error, "errno", None)
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        if code is not None and code not in {errno.EACCES, errno.EPERM, errno.EISDIR}:
            msg = f"Read {input_uri}: {detail}. Expected the storage to answer; pull again."
            raise TransientSourceError(msg) from error
        msg = f"Read {input_uri}: {detail}. Expected a whole, readable file; replace it or correct its source options."
        raise PermanentSourceError(msg) from error
