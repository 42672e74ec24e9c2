"""Sources behind a URL: fetched with limits and retries, kept as a file, and asked for again only when changed.

What is fetched stays below one folder under the hash of its content, with a note of what the server called it, so that
a connector reads a file in any case and a server that answers "not modified" needs to send nothing. Which content is
good is the connector's business; nothing here is deleted.
"""

import hashlib
import json
import random
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import httpx2
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dagster_project.errors import PermanentSourceError, TransientSourceError
from dagster_project.sources._connector import (
    Batch,
    FilePatternField,
    InputPull,
    PullContext,
    SourceOptions,
)
from dagster_project.sources._files import file_input, sha256_of

_CHUNK_BYTES = 64 * 1024
_RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_PAUSE_SECONDS = 60.0
# Suffixes that say how a file is read; any other part of a URL is no business of its file's name.
_SUFFIXES = frozenset({".json", ".csv", ".yaml", ".yml", ".gz", ".zst"})


class HttpOptions(BaseModel):
    """Limits of fetching: patience for one answer, for all of it, tries, first pause between them, size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_seconds: float = Field(default=30.0, gt=0)
    total_seconds: float = Field(default=300.0, gt=0)
    attempt_count: int = Field(default=4, ge=1, le=10)
    pause_seconds: float = Field(default=1.0, ge=0)
    max_bytes: int = Field(default=64 * 1024 * 1024, gt=0)


class LocatedOptions(SourceOptions):
    """Options of a source that is files (`path`) or is fetched (`url`)."""

    path: FilePatternField | None = None
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
    options: LocatedOptions, context: PullContext, read: Callable[[Path, str], Iterator[Batch]]
) -> Iterator[InputPull]:
    """List a source's files as inputs, or fetch its URL as the only one.

    Raises:
        PermanentSourceError: no file matches, or the server refuses.
        TransientSourceError: the server cannot be reached, or does not answer in full.
    """
    if options.path is not None:
        for input_uri, path in options.path.files():
            yield file_input(path, input_uri, read)
    elif options.url is not None:
        input_uri = public_url(options.url)
        yield file_input(fetch(options.url, context.fetched_dir, options.http), input_uri, read)


def public_url(url: str) -> str:
    """Give a URL without what may be secret: user, password and query."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path, "", ""))


@dataclass(frozen=True)
class _Note:
    """What is kept about the last answer of a URL.

    Attributes:
        file_name: The content's file.
        sha256: Hash of the file.
        etag: The server's name of the version, if it gave one.
        last_modified: When the server says that it changed, as the server wrote it.
    """

    file_name: str
    sha256: str
    etag: str | None
    last_modified: str | None

    @property
    def headers(self) -> dict[str, str]:
        found = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in found.items() if value}


class _RetryError(Exception):
    """An answer that may be better the next time; `pause_seconds` is what the server asks for."""

    def __init__(self, observed: str, pause_seconds: float | None = None) -> None:
        super().__init__(observed)
        self.pause_seconds = pause_seconds


def fetch(url: str, folder: Path, options: HttpOptions, *, sleep: Callable[[float], None] = time.sleep) -> Path:
    """Fetch a URL into a folder and give the file; an unchanged one is the file that is there already.

    Args:
        url: What to fetch.
        folder: Where fetched content is kept; created when absent.
        options: Limits.
        sleep: How to wait between tries.

    Raises:
        PermanentSourceError: the server refuses, or the content is larger than allowed.
        TransientSourceError: no try gave the whole content.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note_path = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.note"
    note = _load_note(note_path)
    observed = ""
    headers = {"Accept-Encoding": "gzip", "User-Agent": "tokenledger"}
    with httpx2.Client(timeout=options.timeout_seconds, follow_redirects=True, headers=headers) as client:
        for attempt in range(options.attempt_count):
            try:
                return _try(client, url, note_path, note, options)
            except (httpx2.TransportError, httpx2.TooManyRedirects, _RetryError) as error:
                observed = str(error) or type(error).__name__
                if attempt + 1 < options.attempt_count:
                    sleep(_pause(attempt, options, error))
    msg = (
        f"Fetched {public_url(url)} {options.attempt_count} times: {observed}. Expected the whole content; "
        "pull again, or correct `url` in the source configuration."
    )
    raise TransientSourceError(msg)


def _pause(attempt: int, options: HttpOptions, error: Exception) -> float:
    """Give the seconds to wait: what the server asks for, else twice as long each time, with jitter."""
    asked = error.pause_seconds if isinstance(error, _RetryError) else None
    seconds = options.pause_seconds * 2**attempt * random.uniform(0.5, 1.0) if asked is None else asked  # noqa: S311
    return min(seconds, _LONGEST_PAUSE_SECONDS)


def _try(client: httpx2.Client, url: str, note_path: Path, note: _Note | None, options: HttpOptions) -> Path:
    folder = note_path.parent
    with client.stream("GET", url, headers=note.headers if note else {}) as response:
        if response.status_code == httpx2.codes.NOT_MODIFIED and note is not None:
            return folder / note.file_name
        if response.status_code in _RETRIED_STATUSES:
            asked = response.headers.get("Retry-After", "")
            raise _RetryError(f"status {response.status_code}", float(asked) if asked.isdecimal() else None)
        if response.status_code != httpx2.codes.OK:
            msg = (
                f"Fetched {public_url(url)}: status {response.status_code}, expected 200. "
                "Correct `url` in the source configuration."
            )
            raise PermanentSourceError(msg)
        path = _save(response, url, folder, options)
        fresh = _Note(
            path.name,
            sha256_of(path),
            response.headers.get("ETag"),
            response.headers.get("Last-Modified"),
        )
    _replace(note_path, json.dumps(vars(fresh)).encode())
    return path


def _save(response: httpx2.Response, url: str, folder: Path, options: HttpOptions) -> Path:
    """Write the content under its hash; a file is there whole or not at all."""
    digest = hashlib.sha256()
    size_bytes = 0
    deadline = time.monotonic() + options.total_seconds
    temporary = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("wb") as stream, closing(response):
            for chunk in _decoded(response, url):
                size_bytes += len(chunk)
                if size_bytes > options.max_bytes:
                    msg = (
                        f"Fetched {public_url(url)}: more than {options.max_bytes:,} bytes, expected at most that. "
                        "Correct `url`, or raise `http: max_bytes` in the source configuration."
                    )
                    raise PermanentSourceError(msg)
                if time.monotonic() > deadline:
                    raise _RetryError(f"{size_bytes:,} bytes after {options.total_seconds:g} s")
                digest.update(chunk)
                stream.write(chunk)
        suffixes = [suffix for suffix in PurePosixPath(urlsplit(url).path).suffixes if suffix.lower() in _SUFFIXES]
        path = folder / f"{digest.hexdigest()[:32]}{''.join(suffixes).lower()}"
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _decoded(response: httpx2.Response, url: str) -> Iterator[bytes]:
    """Give the content decompressed; compressed content that ends early is no whole content."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding == "identity":
        yield from response.iter_raw(_CHUNK_BYTES)
        return
    if encoding != "gzip":
        msg = f"Fetched {public_url(url)}: Content-Encoding {encoding}, expected gzip or none. Correct the server."
        raise PermanentSourceError(msg)
    decompressor = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        for chunk in response.iter_raw(_CHUNK_BYTES):
            yield decompressor.decompress(chunk)
    except zlib.error as error:
        raise _RetryError(f"compressed content is damaged: {error}") from error
    if not decompressor.eof:
        raise _RetryError("compressed content ends early")


def _load_note(path: Path) -> _Note | None:
    """Read the note of a URL; a note that cannot be read, or whose file is not what it was, is as none."""
    try:
        note = _Note(**json.loads(path.read_text(encoding="utf-8")))
        return note if sha256_of(path.with_name(note.file_name)) == note.sha256 else None
    except (OSError, ValueError, TypeError):
        return None


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
