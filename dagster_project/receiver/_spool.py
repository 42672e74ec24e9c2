"""The spool: files to which exports are appended durably, and that readers see once nothing is added to them.

A file that is written to has a hidden name; when it is large or old enough, it is renamed to the name that the source's
pattern matches. An append returns after the bytes are on the disk. What a killed receiver left is published by the next
one; of an append that was cut off, which nobody was told had succeeded, the bytes are set aside.

Every append is a zstd frame; frames one after the other are one zstd file.
"""

import os
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import zstandard

SUFFIX = ".jsonl.zst"
_OPEN_SUFFIX = ".open"
_CHUNK_BYTES = 64 * 1024


class FullSpoolError(OSError):
    """The disk has less free space than must stay free."""


class Spool:
    """Appends to a folder; one receiver at a time.

    Args:
        folder: Where the files are; created when absent.
        file_bytes: Size from which a file is published.
        file_seconds: Age from which a file is published.
        min_free_bytes: What must stay free on the disk.
        clock: Gives seconds, never going back.
    """

    def __init__(
        self,
        folder: Path,
        *,
        file_bytes: int,
        file_seconds: float,
        min_free_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._file_bytes = file_bytes
        self._file_seconds = file_seconds
        self._min_free_bytes = min_free_bytes
        self._clock = clock
        self._descriptor: int | None = None
        self._path = folder
        self._whole_bytes = 0
        self._opened_at = 0.0

    def recover(self) -> list[Path]:
        """Publish what an earlier receiver left open, and give these files."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        published = []
        for path in sorted(self._folder.glob(f".*{_OPEN_SUFFIX}")):
            whole_bytes = _whole_bytes(path)
            _set_aside(path, whole_bytes)
            published.append(_publish(path, whole_bytes))
        return [path for path in published if path]

    def append(self, frames: Sequence[bytes]) -> None:
        """Write frames; on return all of them are on the disk, on an error none of them counts.

        Raises:
            OSError: they could not be written.
        """
        content = b"".join(frames)
        free_bytes = shutil.disk_usage(self._folder).free
        if free_bytes - len(content) < self._min_free_bytes:
            raise FullSpoolError(f"{free_bytes:,} bytes are free in {self._folder}")
        descriptor = self._open() if self._descriptor is None else self._descriptor
        try:
            written_bytes = 0
            while written_bytes < len(content):
                written_bytes += os.write(descriptor, content[written_bytes:])
            os.fdatasync(descriptor)
        except OSError:
            # What was written of it must not be followed by anything.
            self.publish()
            raise
        self._whole_bytes += len(content)

    def seconds_until_due(self) -> float | None:
        """Give the seconds until the open file is to be published; None when there is none, 0 when it is time."""
        if self._descriptor is None:
            return None
        if self._whole_bytes >= self._file_bytes:
            return 0.0
        return max(0.0, self._opened_at + self._file_seconds - self._clock())

    def publish(self) -> None:
        """Close the open file, if there is one, and give it the name that readers look for."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
            _publish(self._path, self._whole_bytes)

    def _open(self) -> int:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:12]}"
        self._path = self._folder / f".{name}{_OPEN_SUFFIX}"
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._whole_bytes = 0
        self._opened_at = self._clock()
        _sync(self._folder)
        return self._descriptor


def _publish(path: Path, whole_bytes: int) -> Path | None:
    """Rename an open file, cut to its whole frames; one without any is deleted."""
    if not whole_bytes:
        path.unlink()
        return None
    os.truncate(path, whole_bytes)
    _sync(path)
    published = path.with_name(path.name.removeprefix(".").removesuffix(_OPEN_SUFFIX) + SUFFIX)
    path.replace(published)
    _sync(path.parent)
    return published


def _set_aside(path: Path, whole_bytes: int) -> None:
    """Keep what follows the whole frames in a file of its own."""
    if path.stat().st_size > whole_bytes:
        with path.open("rb") as stream, path.with_suffix(".rest").open("wb") as rest:
            stream.seek(whole_bytes)
            shutil.copyfileobj(stream, rest)


def _whole_bytes(path: Path) -> int:
    """Give the length of a file's whole frames."""
    whole_bytes = fed_bytes = 0
    with path.open("rb") as stream:
        frame = zstandard.ZstdDecompressor().decompressobj()
        rest = b""
        while chunk := rest or stream.read(_CHUNK_BYTES):
            fed_bytes += 0 if rest else len(chunk)
            try:
                frame.decompress(chunk)
            except zstandard.ZstdError:
                break
            rest = b""
            if frame.eof:
                rest = frame.unused_data
                whole_bytes = fed_bytes - len(rest)
                frame = zstandard.ZstdDecompressor().decompressobj()
    return whole_bytes


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
