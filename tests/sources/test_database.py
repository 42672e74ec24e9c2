"""Databases: limits that hold within a transaction, whatever stands between; which refusals are for good."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from sqlalchemy import text

from dagster_project.errors import PermanentSourceError, TransientSourceError
from dagster_project.sources._database import Database, DatabaseOptions
from tests.sources.postgres import Postgres

# What PgBouncer 1.18 takes when somebody connects; anything else it refuses unless it is told to ignore it.
POOLED = {
    "user", "database", "application_name", "client_encoding", "datestyle", "timezone", "standard_conforming_strings",
}  # fmt: skip


def _database(url: str) -> Database:
    options = {"url": url, "attempt_count": 1, "connect_timeout_seconds": 5, "statement_timeout_seconds": 7}
    return Database(DatabaseOptions.model_validate(options))


class Pooler:
    """A server that passes connections on as PgBouncer does: it refuses parameters that it does not know."""

    def __init__(self, postgres: Postgres) -> None:
        self._server_port = postgres.port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.parameters: list[dict[str, str]] = []

    @contextmanager
    def running(self) -> Iterator["Pooler"]:
        """Take connections, each in a thread, until the context is left."""
        thread = Thread(target=self._accept, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            thread.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            startup = self._startup(client)
            pairs = startup[8:].split(b"\0")
            given = {key.decode(): value.decode() for key, value in zip(pairs[::2], pairs[1::2], strict=False) if key}
            self.parameters.append(given)
            unknown = [name for name in given if name.lower() not in POOLED]
            if unknown:
                said = f"SFATAL\0C08P01\0Munsupported startup parameter: {unknown[0]}\0\0".encode()
                client.sendall(b"E" + struct.pack("!i", len(said) + 4) + said)
                return
            with socket.create_connection(("127.0.0.1", self._server_port)) as server:
                server.sendall(startup)
                back = Thread(target=_pass_on, args=(server, client), daemon=True)
                back.start()
                _pass_on(client, server)
                back.join(timeout=5)

    @staticmethod
    def _startup(client: socket.socket) -> bytes:
        """Read the startup message; requests for encryption, which come before it, are declined."""
        while True:
            size = struct.unpack("!i", client.recv(4, socket.MSG_WAITALL))[0]
            message = client.recv(size - 4, socket.MSG_WAITALL)
            if struct.unpack("!i", message[:4])[0] == 3 << 16:
                return struct.pack("!i", size) + message
            client.sendall(b"N")


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def test_a_pooler_that_refuses_unknown_parameters_lets_it_through(postgres: Postgres):
    with Pooler(postgres).running() as pooler:
        database = _database(postgres.url().replace(str(postgres.port), str(pooler.port)))
        assert list(database.rows("select 1 as one")) == [{"one": 1}]
    assert all({name.lower() for name in given} <= POOLED for given in pooler.parameters)


def test_a_parameter_that_a_pooler_refuses_is_permanent(postgres: Postgres):
    with Pooler(postgres).running() as pooler:
        url = f"{postgres.url()}?options=-c%20search_path%3Dcrm".replace(str(postgres.port), str(pooler.port))
        with pytest.raises(PermanentSourceError, match="unsupported startup parameter: options"):
            list(_database(url).rows("select 1"))


def test_limits_hold_within_the_transaction_and_values_are_written_one_way(postgres: Postgres):
    names = "transaction_read_only", "statement_timeout", "timezone", "datestyle", "transaction_isolation"
    with _database(postgres.url()).snapshot() as connection:
        said = {name: connection.execute(text(f"show {name}")).scalar_one() for name in names}
        # Of the session itself nothing is changed: it may be somebody else's next.
        connection.rollback()
        left = {name: connection.execute(text(f"show {name}")).scalar_one() for name in names[:3]}
    assert said == {
        "transaction_read_only": "on", "statement_timeout": "7s", "timezone": "UTC", "datestyle": "ISO, MDY",
        "transaction_isolation": "repeatable read",
    }  # fmt: skip
    assert left == {"transaction_read_only": "off", "statement_timeout": "0", "timezone": "America/New_York"}


def test_nothing_is_prepared(postgres: Postgres):
    with _database(postgres.url()).snapshot() as connection:
        for _ in range(8):
            connection.execute(text("select 1"))
        assert connection.execute(text("select count(*) from pg_prepared_statements")).scalar_one() == 0


def test_a_connection_that_is_cut_is_transient():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def cut() -> None:
            client, _ = server.accept()
            client.close()

        Thread(target=cut, daemon=True).start()
        url = f"postgresql://ledger:pass@127.0.0.1:{server.getsockname()[1]}/postgres"
        with pytest.raises(TransientSourceError):
            list(_database(url).rows("select 1"))
