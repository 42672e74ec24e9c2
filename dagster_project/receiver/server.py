"""An OTLP/HTTP endpoint for traces: answers success only when the spans are on the disk.

What it holds in memory is bounded: bodies and what waits to be written share one budget, and beyond it an export is
answered 503 with `Retry-After`, which every exporter takes for "later" (some give up at 408 or 429). One export at a
time is decompressed and decoded. Exports that arrive together share one write to the disk.

A connection has a few seconds for the head of a request, and there are fewer of them than files may be open.
"""

import asyncio
import contextlib
import errno
import hmac
import logging
import resource
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import orjson
import uvicorn
import zstandard
from filelock import FileLock, Timeout
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from dagster_project.errors import ConfigurationError
from dagster_project.receiver import _exports
from dagster_project.receiver._exports import RefusedExportError
from dagster_project.receiver._spool import Spool
from dagster_project.sources.otlp_files import TRACES_PATH, ReceiverOptions

# Exporters of SDKs give up when they are told to wait beyond their own patience, ten seconds by default.
_RETRY_SECONDS = 1
_STOP_SECONDS = 30
_HEAD_SECONDS = 10
_LOG_SECONDS = 60
# Files that the receiver opens beside connections.
_OTHER_FILES = 64
_OK = 200

_log = logging.getLogger(__name__)

_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]


class _BusyError(Exception):
    """The export may succeed later."""


class _GoneError(Exception):
    """The client went away before its body was there."""


class Receiver:
    """The ASGI application; use it as a context, which writes and publishes what was taken in.

    Args:
        spool: Where exports go.
        options: Limits and token.
        hash_key: Key of the pseudonyms of users; None leaves users out.
        keep_user_ids: Whether users stay as they are.
    """

    def __init__(
        self, spool: Spool, options: ReceiverOptions, *, hash_key: bytes | None = None, keep_user_ids: bool = False
    ) -> None:
        self._spool = spool
        self._options = options
        self._hash_key = hash_key
        self._keep_user_ids = keep_user_ids
        self._held_bytes = 0
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._is_stopping = False
        # One thread each: decoding needs the interpreter's lock anyway, and a file has one writer.
        self._decoder = ThreadPoolExecutor(1, "otlp-decode")
        self._disk = ThreadPoolExecutor(1, "otlp-disk")
        self._compressor = zstandard.ZstdCompressor(level=1)
        self.connection_limit = _connection_limit(options.max_connections)

    async def __aenter__(self) -> Self:
        await self._on_disk(self._spool.recover)
        self._writer = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_stopping = True
        self._wake.set()
        await self._writer
        self._decoder.shutdown()
        self._disk.shutdown()

    async def __call__(self, scope: dict[str, Any], receive: _Receive, send: _Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        more: dict[str, str] = {}
        try:
            self._check(scope, headers, content_type)
            await self._take_in(headers, content_type, receive)
            status, message = _OK, ""
        except RefusedExportError as error:
            status, message = error.status, str(error)
        except _BusyError as error:
            status, message = 503, str(error)
            more = {"retry-after": str(_RETRY_SECONDS)}
        except _GoneError:
            return
        body = _body(message, is_json=content_type == _exports.JSON)
        answer_type = _exports.JSON if content_type == _exports.JSON else _exports.PROTOBUF
        all_headers = {"content-type": answer_type, "content-length": str(len(body)), **more}
        encoded = [(name.encode(), value.encode()) for name, value in all_headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})

    def _check(self, scope: dict[str, Any], headers: dict[str, str], content_type: str) -> None:
        """Refuse what is no trace export before anything of its body is read."""
        if scope["path"] != TRACES_PATH:
            raise RefusedExportError(404, f"{scope['path']} is not served, expected {TRACES_PATH}")
        if scope["method"] != "POST":
            raise RefusedExportError(405, f"{scope['method']} is not served, expected POST")
        token = self._options.token
        if token is not None:
            expected = f"Bearer {token.get_secret_value()}"
            if not hmac.compare_digest(headers.get("authorization", "").encode(), expected.encode()):
                raise RefusedExportError(
                    401, "expected the header `Authorization: Bearer <token>` with the right token"
                )
        if content_type not in (_exports.PROTOBUF, _exports.JSON):
            raise RefusedExportError(
                415, f"Content-Type {content_type!r}, expected {_exports.PROTOBUF} or {_exports.JSON}"
            )
        if headers.get("content-encoding", "identity") not in ("identity", "gzip"):
            raise RefusedExportError(415, f"Content-Encoding {headers['content-encoding']!r}, expected gzip or none")

    async def _take_in(self, headers: dict[str, str], content_type: str, receive: _Receive) -> None:
        """Read, decode and write an export; on return it is on the disk."""
        limit_bytes = self._options.max_request_bytes
        declared_bytes = int(headers.get("content-length", "0"))
        if declared_bytes > limit_bytes:
            raise RefusedExportError(413, f"the body is {declared_bytes:,} bytes, expected {limit_bytes:,} at most")
        self._check_room(declared_bytes)
        body: list[bytes] = []
        held_bytes = 0
        try:
            try:
                async with asyncio.timeout(self._options.body_seconds):
                    async for chunk in _chunks(receive):
                        self._check_room(len(chunk))
                        self._held_bytes += len(chunk)
                        held_bytes += len(chunk)
                        body.append(chunk)
                        if held_bytes > limit_bytes:
                            message = f"the body is more than {limit_bytes:,} bytes; send less at once"
                            raise RefusedExportError(413, message)
            except TimeoutError:
                raise _BusyError("the body did not arrive in time; send it again") from None
            encoding = headers.get("content-encoding", "identity")
            frame = await asyncio.get_running_loop().run_in_executor(
                self._decoder, self._frame, body, content_type, encoding
            )
            if len(frame) > self._options.max_pending_bytes:
                raise RefusedExportError(413, f"{len(frame):,} bytes were to be written; send less at once")
            self._check_room(len(frame) - held_bytes)
            self._held_bytes += len(frame) - held_bytes
            held_bytes = len(frame)
            if frame:
                await self._written(frame)
        finally:
            self._held_bytes -= held_bytes

    def _check_room(self, more_bytes: int) -> None:
        if self._held_bytes + more_bytes > self._options.max_pending_bytes:
            raise _BusyError("too much is waiting to be written; send it again later")

    def _frame(self, body: list[bytes], content_type: str, encoding: str) -> bytes:
        """Give what is written of an export, nothing when it has no spans; the pieces of its body are taken."""
        content = b"".join(body)
        body.clear()
        lines = _exports.lines_of(
            content,
            content_type=content_type,
            encoding=encoding,
            limit_bytes=self._options.max_decompressed_bytes,
            hash_key=self._hash_key,
            keep_user_ids=self._keep_user_ids,
        )
        del content
        compressing = self._compressor.compressobj()
        frame = bytearray()
        is_empty = True
        for line in lines:
            is_empty = False
            frame += compressing.compress(line)
        return b"" if is_empty else bytes(frame + compressing.flush())

    # ---- writing

    async def _written(self, frame: bytes) -> None:
        """Wait until a frame is on the disk."""
        if self._is_stopping:
            raise _BusyError("the receiver is stopping; send it again")
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((frame, future))
        self._wake.set()
        try:
            await future
        except OSError as error:
            raise _BusyError(f"the spool cannot be written: {error}") from error

    async def _write(self) -> None:
        """Write what waits, all of it at once, and publish files that are due, until the receiver stops."""
        while not (self._is_stopping and not self._waiting):
            due_seconds = await self._on_disk(self._spool.seconds_until_due)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), due_seconds)
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            await self._write_batch(batch)
            if await self._on_disk(self._spool.seconds_until_due) == 0:
                await self._publish()
        await self._publish()

    async def _write_batch(self, batch: list[tuple[bytes, "asyncio.Future[None]"]]) -> None:
        if not batch:
            return
        failure: OSError | None = None
        try:
            await self._on_disk(self._spool.append, [frame for frame, _ in batch])
        except OSError as error:
            _log.error("The spool cannot be written: %s", error)
            failure = error
        for _, future in batch:
            if future.done():
                continue
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)

    async def _publish(self) -> None:
        try:
            await self._on_disk(self._spool.publish)
        except OSError as error:
            _log.error("A file of the spool stays hidden until the receiver starts again: %s", error)

    async def _on_disk(self, work: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - any work
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)


async def _chunks(receive: _Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


def _body(message: str, *, is_json: bool) -> bytes:
    """Write the answer: an empty ExportTraceServiceResponse, or a google.rpc.Status with the message."""
    if is_json:
        return orjson.dumps({"message": message} if message else {})
    if not message:
        return b""
    from opentelemetry.proto.trace.v1.trace_pb2 import Status  # noqa: PLC0415 - the receiver's alone

    # Of the same wire form: the message is field 2 of both.
    return Status(message=message).SerializeToString()


# ---- serving


class _Seldom:
    """Says that a message is due that is logged once a minute at most."""

    def __init__(self) -> None:
        self._due_at = 0.0

    def is_due(self) -> bool:
        now = time.monotonic()
        if now < self._due_at:
            return False
        self._due_at = now + _LOG_SECONDS
        return True


_too_many_connections = _Seldom()
_no_more_files = _Seldom()

_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: %d\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    % _RETRY_SECONDS
)


# What is installed decides which class it is.
class _Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """A connection that is closed when the head of a request does not come in time, or when there are too many."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        limit = self.config.app.connection_limit
        if len(self.connections) > limit:
            if _too_many_connections.is_due():
                _log.warning("More than %d connections are open; further ones are sent away.", limit)
            transport.write(_TOO_MANY)
            transport.close()
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end_deadline()

    def _await_head(self) -> None:
        """Start the deadline, or end it when a request is being answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._end_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _connection_limit(most: int) -> int:
    """Let the process open as many files as it may, and give the number of connections that this leaves room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, soft - _OTHER_FILES))


def _handle_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log errors as asyncio does; that no connection can be accepted, which it tries again and again, once a minute."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
        if _no_more_files.is_due():
            _log.error("No connection can be accepted: %s", error)
        return
    loop.default_exception_handler(context)


def server_of(receiver: Receiver, options: ReceiverOptions) -> uvicorn.Server:
    """Give the server of a receiver, to be served in the running loop."""
    asyncio.get_running_loop().set_exception_handler(_handle_loop_error)
    return uvicorn.Server(
        uvicorn.Config(
            receiver,
            host=options.host,
            port=options.port,
            http=_Connection,
            lifespan="off",
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
    )


def receive(
    folder: Path,
    options: ReceiverOptions,
    *,
    hash_key: bytes | None = None,
    keep_user_ids: bool = False,
    on_ready: Callable[[int], None] = lambda _: None,
) -> None:
    """Serve until the process is told to stop (SIGINT, SIGTERM); what was taken in is then published.

    Args:
        folder: The spool.
        options: Address, limits, token.
        hash_key: Key of the pseudonyms of users; None leaves users out.
        keep_user_ids: Whether users stay as they are.
        on_ready: Called with the port once exports are taken in.

    Raises:
        ConfigurationError: another receiver writes to the folder, or the address is taken.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        msg = f"Started a receiver for {folder}: another one writes there, expected none. Stop it, or name another."
        raise ConfigurationError(msg) from None
    with lock:
        asyncio.run(_serve(folder, options, hash_key, on_ready, keep_user_ids=keep_user_ids))


async def _serve(
    folder: Path,
    options: ReceiverOptions,
    hash_key: bytes | None,
    on_ready: Callable[[int], None],
    *,
    keep_user_ids: bool,
) -> None:
    spool = Spool(
        folder,
        file_bytes=options.file_bytes,
        file_seconds=options.file_seconds,
        min_free_bytes=options.min_free_bytes,
    )
    # uvicorn raises the signal that stopped it once more when it has stopped; the files are not published yet then.
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: None)
    async with Receiver(spool, options, hash_key=hash_key, keep_user_ids=keep_user_ids) as receiver:
        server = server_of(receiver, options)
        ready = asyncio.create_task(_tell_when_ready(server, on_ready))
        try:
            await server.serve()
        except SystemExit:
            msg = f"Listened on {options.host}:{options.port}: not possible, expected a free address. Set `port`."
            raise ConfigurationError(msg) from None
        finally:
            ready.cancel()


async def _tell_when_ready(server: uvicorn.Server, on_ready: Callable[[int], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    on_ready(server.servers[0].sockets[0].getsockname()[1])
