"""Sources behind a URL: fetched with limits and retries, kept as a file, and asked for again only when changed.

What is fetched stays below one folder under the hash of its content, with a note of what the server called it, so that
a connector reads a file in any case and a server that answers "not modified" needs to send nothing. For a source whose
content has no dates of its own the note lists the versions of the content that could be read, each with the UTC day on
which it was first fetched. Which content is good is the connector's business; nothing here is deleted.
"""

import hashlib
import json
import random
import time
import uuid
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx2
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from dagster_project.errors import PermanentSourceError, TransientSourceError
from dagster_project.sources._connector import (
    Batch,
    FilePatternField,
    InputPull,
    PullContext,
    SourceOptions,
    StorageOptions,
    without_secrets,
)
from dagster_project.sources._files import file_input, inputs_at, sha256_of

# Besides those of a server's own failures, 5xx.
_RETRIED_STATUSES = frozenset({408, 425, 429})
# Of these no further try can be better: what is asked for, or the version of HTTP, is not known there.
_NOT_RETRIED_STATUSES = frozenset({501, 505})
_SERVER_FAILED = 500
_LONGEST_PAUSE_SECONDS = 60.0
# Suffixes that say how a file is read; any other part of a URL is no business of its file's name.
_SUFFIXES = frozenset({".json", ".csv", ".yaml", ".yml", ".gz", ".zst"})

HEADERS = {"Accept-Encoding": "gzip", "User-Agent": "tokenledger"}

_Answer = TypeVar("_Answer")


class HttpOptions(BaseModel):
    """Limits of asking for one thing.

    Attributes:
        timeout_seconds: Patience for a connection, and for the next piece of an answer.
        total_seconds: Patience for all of it: every try, its headers and its content, and the pauses between tries.
        attempt_count: Tries at most.
        pause_seconds: First pause between tries; it doubles.
        max_bytes: Size of the content at most, decompressed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_seconds: float = Field(default=30.0, gt=0)
    total_seconds: float = Field(default=300.0, gt=0)
    attempt_count: int = Field(default=4, ge=1, le=10)
    pause_seconds: float = Field(default=1.0, ge=0)
    max_bytes: int = Field(default=64 * 1024 * 1024, gt=0)


class LocatedOptions(SourceOptions):
    """Options of a source that is files or stored objects (`path`), or is fetched (`url`)."""

    path: FilePatternField | None = None
    storage: StorageOptions = Field(default={}, exclude=True)
    url: str | None = None
    http: HttpOptions = HttpOptions()

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        try:
            parts = urlsplit(value or "http://none")
            is_right = parts.scheme in {"http", "https"} and bool(parts.hostname)
        except ValueError:
            is_right = False
        if not is_right:
            msg = "expected an http:// or https:// address"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if (self.path is None) == (self.url is None):
            msg = "expected either `path` (files) or `url` (fetched), and not both"
            raise ValueError(msg)
        return self


def located_inputs(
    options: LocatedOptions,
    context: PullContext,
    read: Callable[[Path, str], Iterator[Batch]],
    *,
    keeps_versions: bool = False,
) -> Iterator[InputPull]:
    """List a source's files as inputs, or fetch its URL as one.

    Args:
        options: Where the source is.
        context: The pull.
        read: Reads a file under its input's name.
        keeps_versions: Whether a change of the URL's content adds an input instead of replacing the only one. The first
            version is named as the URL, a later one `<url>@YYYY-MM-DD` by the UTC day on which it was first fetched.

    Raises:
        PermanentSourceError: no file matches, the server refuses, or a new version cannot be read.
        TransientSourceError: the server cannot be reached, or does not answer in full.
    """
    if options.path is not None:
        yield from inputs_at(options.path, options.storage, context, read)
    elif options.url is not None:
        today = context.now.astimezone(UTC).date()
        fetched = fetch(options.url, context.fetched_dir, options.http, today=today)
        if keeps_versions:
            for version in _readable_versions(fetched, options.url, context.fetched_dir, read):
                yield _version_input(version, options.url, context.fetched_dir, read)
        else:
            yield file_input(context.fetched_dir / fetched.file_name, public_url(options.url), read)


def fetched_version_date(url: str, input_uri: str) -> date | None:
    """Give the UTC day from which a later version of a URL's content holds; None for the first and any other input."""
    start = f"{public_url(url)}@"
    return date.fromisoformat(input_uri.removeprefix(start)) if input_uri.startswith(start) else None


def public_url(url: str) -> str:
    """Give a URL without what may be secret: user, password and query."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path, "", ""))


@dataclass(frozen=True)
class FetchedVersion:
    """One version of a URL's content.

    Attributes:
        file_name: Its file.
        sha256: Hash of the file.
        from_date: UTC day from which it holds, YYYY-MM-DD; None for the first one, which holds at all times.
    """

    file_name: str
    sha256: str
    from_date: str | None

    def input_uri(self, url: str) -> str:
        """Name the version as an input."""
        return public_url(url) + (f"@{self.from_date}" if self.from_date else "")


@dataclass(frozen=True)
class Fetched:
    """What is kept about the answers of a URL.

    Attributes:
        file_name: The latest content's file.
        sha256: Hash of the file.
        fetched_date: UTC day on which this content was first fetched after another one, YYYY-MM-DD.
        etag: The server's name of the latest content, if it gave one.
        last_modified: When the server says that it changed, as the server wrote it.
        versions: The contents that could be read, oldest first; empty for a source that keeps the latest only.
    """

    file_name: str
    sha256: str
    fetched_date: str
    etag: str | None
    last_modified: str | None
    versions: tuple[FetchedVersion, ...] = ()

    @property
    def headers(self) -> dict[str, str]:
        """What to ask the server with, so that it sends only other content."""
        found = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in found.items() if value}

    def versions_with_latest(self) -> tuple[FetchedVersion, ...]:
        """Give the versions, with the latest content as the last one.

        It takes the place of a version of its own day, and of none when it is what held before that day. A clock that
        is behind the last version's day does not put the latest content before that version.
        """
        if not self.versions:
            return (FetchedVersion(self.file_name, self.sha256, None),)
        day = max(self.fetched_date, self.versions[-1].from_date or "")
        kept = tuple(version for version in self.versions if version.from_date != day)
        return kept if kept[-1].sha256 == self.sha256 else (*kept, FetchedVersion(self.file_name, self.sha256, day))


def _readable_versions(
    fetched: Fetched, url: str, folder: Path, read: Callable[[Path, str], Iterator[Batch]]
) -> tuple[FetchedVersion, ...]:
    """Give the versions of a URL's content, the latest one included once it has been read from start to end."""
    versions = fetched.versions_with_latest()
    if versions != fetched.versions:
        if versions[-1] not in fetched.versions:
            for _ in _version_input(versions[-1], url, folder, read).batches():
                pass
        _save_note(_note_path(url, folder), replace(fetched, versions=versions))
    return versions


def _version_input(
    version: FetchedVersion, url: str, folder: Path, read: Callable[[Path, str], Iterator[Batch]]
) -> InputPull:
    def read_unchanged(path: Path, input_uri: str) -> Iterator[Batch]:
        if sha256_of(path) != version.sha256:
            msg = f"Read {input_uri}: its file {path} is not what was fetched, expected it unchanged. Restore the file."
            raise PermanentSourceError(msg)
        return read(path, input_uri)

    return file_input(folder / version.file_name, version.input_uri(url), read_unchanged)


class RetryError(Exception):
    """An answer that may be better the next time; `pause_seconds` is what the server asks for."""

    def __init__(self, observed: str, pause_seconds: float | None = None) -> None:
        super().__init__(observed)
        self.pause_seconds = pause_seconds


class Deadline:
    """The instant by which all tries together must have succeeded.

    Args:
        options: Limits.
    """

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._at = time.monotonic() + options.total_seconds

    def has_passed_in(self, seconds: float) -> bool:
        """Say whether it will have passed so many seconds from here on."""
        return time.monotonic() + seconds >= self._at

    def timeout_seconds(self) -> float:
        """Give the patience for the next piece of an answer, which is never more than what is left.

        Raises:
            RetryError: nothing is left.
        """
        left = self._at - time.monotonic()
        if left <= 0:
            raise RetryError(f"no whole answer after {self._options.total_seconds:g} s")
        return min(self._options.timeout_seconds, left)


def retried(
    once: Callable[[Deadline], _Answer],
    what: str,
    advice: str,
    options: HttpOptions,
    sleep: Callable[[float], None],
    *,
    secrets: Collection[SecretStr] = (),
) -> _Answer:
    """Try something over the network until it succeeds, with growing pauses, or with those that the server asks for.

    A pause is a minute at most. No further try is made when its pause would outlast the time for all of them.

    Args:
        once: One try, by the deadline of all; raises RetryError or a transport error when the next one may be better.
        what: What was tried, for the message, without secrets.
        advice: What to do when no try succeeds.
        options: Limits.
        sleep: How to wait between tries.
        secrets: What the message must not say, whoever words it.

    Raises:
        TransientSourceError: no try succeeded.
        PermanentSourceError: what is asked cannot be written as HTTP.
    """
    deadline = Deadline(options)
    observed = ""
    tries = 0
    for attempt in range(options.attempt_count):
        tries += 1
        try:
            return once(deadline)
        except httpx2.LocalProtocolError:
            # Its text holds the header that is wrong, which may be the key.
            msg = (
                f"{what}: the request cannot be written as HTTP, expected headers of printable ASCII on one line. "
                "Correct the key, or what else of the source configuration goes into a header."
            )
            raise PermanentSourceError(msg) from None
        except (httpx2.TransportError, httpx2.TooManyRedirects, RetryError) as error:
            observed = without_secrets(str(error) or type(error).__name__, secrets)
            pause_seconds = _pause(attempt, options, error)
        if tries == options.attempt_count or deadline.has_passed_in(pause_seconds):
            break
        sleep(pause_seconds)
    msg = f"{what} {tries} time{'' if tries == 1 else 's'}: {observed}. Expected the whole content; {advice}"
    raise TransientSourceError(msg)


def raise_if_busy(response: httpx2.Response) -> None:
    """Raise RetryError when a status says that the same request may succeed later."""
    status = response.status_code
    if status in _RETRIED_STATUSES or (status >= _SERVER_FAILED and status not in _NOT_RETRIED_STATUSES):
        raise RetryError(f"status {status}", _asked_pause(response.headers.get("Retry-After", "")))


def whole_content(response: httpx2.Response, what: str, options: HttpOptions, deadline: Deadline) -> Iterator[bytes]:
    """Give the content of an answer, decompressed, within the limits.

    Raises:
        RetryError: it does not come whole, or not in time.
        PermanentSourceError: it is larger than allowed, or compressed in a way that was not asked for.
    """
    size_bytes = 0
    for chunk in _decoded(response, what):
        size_bytes += len(chunk)
        if size_bytes > options.max_bytes:
            msg = (
                f"{what}: more than {options.max_bytes:,} bytes, expected at most that. "
                "Correct `url`, or raise `http: max_bytes` in the source configuration."
            )
            raise PermanentSourceError(msg)
        deadline.timeout_seconds()
        yield chunk


def _asked_pause(retry_after: str) -> float | None:
    """Give the seconds of a Retry-After header, be it a number or a date; None when it says neither."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _pause(attempt: int, options: HttpOptions, error: Exception) -> float:
    """Give the seconds to wait: what the server asks for, else twice as long each time, with jitter."""
    asked = error.pause_seconds if isinstance(error, RetryError) else None
    seconds = options.pause_seconds * 2**attempt * random.uniform(0.5, 1.0) if asked is None else asked  # noqa: S311
    return min(seconds, _LONGEST_PAUSE_SECONDS)


def fetch(
    url: str, folder: Path, options: HttpOptions, *, today: date, sleep: Callable[[float], None] = time.sleep
) -> Fetched:
    """Fetch a URL into a folder and say where it is; unchanged content is the file that is there already.

    Args:
        url: What to fetch.
        folder: Where fetched content is kept; created when absent.
        options: Limits.
        today: UTC day of the pull.
        sleep: How to wait between tries.

    Raises:
        PermanentSourceError: the server refuses, the content is larger than allowed, or the note is damaged.
        TransientSourceError: no try gave the whole content.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = _load_note(_note_path(url, folder))
    with httpx2.Client(timeout=options.timeout_seconds, follow_redirects=True, headers=HEADERS) as client:
        return retried(
            lambda deadline: _try(client, url, folder, note, options, deadline=deadline, today=today),
            f"Fetched {public_url(url)}",
            "pull again, or correct `url` in the source configuration.",
            options,
            sleep,
            secrets=_url_secrets(url),
        )


def _url_secrets(url: str) -> list[SecretStr]:
    """Give what `public_url` leaves out."""
    parts = urlsplit(url)
    return [SecretStr(text) for text in (parts.password, parts.query) if text]


def _try(
    client: httpx2.Client,
    url: str,
    folder: Path,
    note: Fetched | None,
    options: HttpOptions,
    *,
    deadline: Deadline,
    today: date,
) -> Fetched:
    headers = note.headers if note else {}
    with client.stream("GET", url, headers=headers, timeout=deadline.timeout_seconds()) as response:
        if response.status_code == httpx2.codes.NOT_MODIFIED and note and headers:
            return note
        raise_if_busy(response)
        if response.status_code != httpx2.codes.OK:
            msg = (
                f"Fetched {public_url(url)}: status {response.status_code}, expected 200. "
                "Correct `url` in the source configuration."
            )
            raise PermanentSourceError(msg)
        path = _save(response, url, folder, options, deadline)
        sha256 = sha256_of(path)
        fresh = Fetched(
            path.name,
            sha256,
            note.fetched_date if note and note.sha256 == sha256 else today.isoformat(),
            response.headers.get("ETag"),
            response.headers.get("Last-Modified"),
            note.versions if note else (),
        )
    _save_note(_note_path(url, folder), fresh)
    return fresh


def _save(response: httpx2.Response, url: str, folder: Path, options: HttpOptions, deadline: Deadline) -> Path:
    """Write the content under its hash; a file is there whole or not at all."""
    digest = hashlib.sha256()
    temporary = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("wb") as stream, closing(response):
            for chunk in whole_content(response, f"Fetched {public_url(url)}", options, deadline):
                digest.update(chunk)
                stream.write(chunk)
        suffixes = [suffix for suffix in PurePosixPath(urlsplit(url).path).suffixes if suffix.lower() in _SUFFIXES]
        path = folder / f"{digest.hexdigest()[:32]}{''.join(suffixes).lower()}"
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _decoded(response: httpx2.Response, what: str) -> Iterator[bytes]:
    """Give the content decompressed; compressed content that ends early is no whole content."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding == "identity":
        yield from response.iter_raw()
        return
    if encoding != "gzip":
        msg = f"{what}: Content-Encoding {encoding}, expected gzip or none. Correct the server."
        raise PermanentSourceError(msg)
    decompressor = _gunzip()
    try:
        for chunk in response.iter_raw():
            rest = chunk
            while rest:
                # Content may be several members, one after the other.
                decompressor = _gunzip() if decompressor.eof else decompressor
                yield decompressor.decompress(rest)
                rest = decompressor.unused_data
    except zlib.error as error:
        raise RetryError(f"compressed content is damaged: {error}") from error
    if not decompressor.eof:
        raise RetryError("compressed content ends early")


def _gunzip() -> "zlib._Decompress":
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


def _note_path(url: str, folder: Path) -> Path:
    return folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.note"


def _load_note(path: Path) -> Fetched | None:
    """Read the note of a URL; one whose latest file is not what it was asks for all of the content.

    Raises:
        PermanentSourceError: the note is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        note = Fetched(**{**content, "versions": tuple(FetchedVersion(**item) for item in content["versions"])})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        msg = (
            f"Read {path}, the note of a fetched URL: {error!r}, expected a complete note. Restore it, or delete it: "
            "then what the URL holds now counts as its first version."
        )
        raise PermanentSourceError(msg) from error
    try:
        is_whole = sha256_of(path.with_name(note.file_name)) == note.sha256
    except OSError:
        is_whole = False
    return note if is_whole else replace(note, etag=None, last_modified=None)


def _save_note(path: Path, note: Fetched) -> None:
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    temporary.write_text(json.dumps(asdict(note)), encoding="utf-8")
    temporary.replace(path)
