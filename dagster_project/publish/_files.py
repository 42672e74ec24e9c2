"""Making written files durable, and naming them by content.

The few file-system steps that the publishing modules share. What is written, and where, is theirs.
"""

import hashlib
import os
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def sync_file(path: Path) -> None:
    """Force a file's content to the disk."""
    _sync(path, os.O_RDONLY)


def sync_directory(path: Path) -> None:
    """Force a directory's entries (a rename in it) to the disk."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in lower-case hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
