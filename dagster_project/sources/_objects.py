"""Object stores through fsspec: which objects match a URL, what tells a changed one, and a copy of one.

Every store's library raises exceptions of its own; here they become the project's two. Nothing of the credentials
reaches a message.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import SecretStr

from dagster_project.errors import PermanentSourceError, TokenledgerError, TransientSourceError
from dagster_project.sources._connector import ObjectPattern

# What S3, Azure and Google Cloud Storage, and fsspec's other file systems call it.
_MODIFIED_NAMES = ("LastModified", "last_modified", "updated", "mtime", "modified")
_ADVICE = "Correct `path`, `storage` or the credentials that the environment gives."


@dataclass(frozen=True)
class StoredObject:
    """An object as it was listed.

    Attributes:
        url: Its address.
        stamp: Size and entity tag; empty when the store gives no tag.
        size_bytes: Its size.
        system: The fsspec file system that it is in.
        modified_at: When it was last written; None when the store does not say.
    """

    url: str
    stamp: str
    size_bytes: int
    system: Any
    modified_at: datetime | None = None

    @property
    def suffix(self) -> str:
        """The end of its name that says what it holds and how it is compressed: `.jsonl.gz`."""
        return "".join(PurePosixPath(self.url).suffixes[-2:])

    def copy_to(self, path: Path) -> None:
        """Copy the object to a file.

        Raises:
            PermanentSourceError: the store refuses.
            TransientSourceError: it does not answer, or the object is not the one that was listed.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with _explained(self.url):
            self.system.get_file(self.url, str(path))
        size_bytes = path.stat().st_size
        if size_bytes != self.size_bytes:
            msg = (
                f"Copied {self.url}: {size_bytes:,} bytes, expected the {self.size_bytes:,} that were listed. "
                "Pull again when its writer has finished."
            )
            raise TransientSourceError(msg)


def stored_objects(place: ObjectPattern, storage: Mapping[str, Any]) -> list[StoredObject]:
    """List the objects that match, sorted by address.

    Args:
        place: What to look for.
        storage: Options of the store's fsspec file system.

    Raises:
        PermanentSourceError: nothing matches, the store refuses, or the package that speaks to it is missing.
        TransientSourceError: the store does not answer.
    """
    import fsspec  # noqa: PLC0415 - only a configured store needs it

    with _explained(place.url):
        # Neither the file system nor its listings may be those of an earlier pull.
        system, path = fsspec.core.url_to_fs(
            place.url, **_plain(dict(storage)), skip_instance_cache=True, use_listings_cache=False
        )
        found = system.glob(path, detail=True)
        objects = [
            StoredObject(system.unstrip_protocol(name), _stamp(info), int(info["size"]), system, _modified_at(info))
            for name, info in sorted(found.items())
            if info["type"] == "file"
        ]
    if not objects:
        msg = f"Looked for {place.url}: no object matches, expected at least one. Correct `path` or deliver the object."
        raise PermanentSourceError(msg)
    return objects


def _stamp(info: Mapping[str, Any]) -> str:
    tag = info.get("ETag") or info.get("etag")
    return f"{info['size']}:{tag}" if tag else ""


def _modified_at(info: Mapping[str, Any]) -> datetime | None:
    found = next((info[name] for name in _MODIFIED_NAMES if info.get(name)), None)
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    if not isinstance(found, datetime):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any option of any store
    """Take the texts out of their wrappers."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.get_secret_value() if isinstance(value, SecretStr) else value


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what a store's library raises into the project's errors."""
    try:
        yield
    except TokenledgerError:
        raise
    except ImportError as error:
        msg = f"Reached for {url}: {error}. Expected the package that speaks to this store; install it."
        raise PermanentSourceError(msg) from error
    except Exception as error:
        name = type(error).__name__
        detail = str(error).splitlines()[0] if str(error) else name
        is_refused = isinstance(error, FileNotFoundError | PermissionError | ValueError | TypeError)
        # Credentials that are missing or expired have a class of their own in each library.
        if is_refused or "Credential" in name or "Auth" in name:
            msg = f"Reached for {url}: {name}: {detail}. Expected the store to give it. {_ADVICE}"
            raise PermanentSourceError(msg) from error
        msg = f"Reached for {url}: {name}: {detail}. Expected the store to answer; pull again."
        raise TransientSourceError(msg) from error
