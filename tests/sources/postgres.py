"""A PostgreSQL of the tests' own: data in a temporary folder, reached over the loopback interface, ended afterwards."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

PASSWORD = "s3cret-pass"  # noqa: S105 - of a server that lives for one test run
_START_SECONDS = 30


@dataclass(frozen=True)
class Postgres:
    """A running server.

    Attributes:
        port: Where it listens on 127.0.0.1.
    """

    port: int

    def url(self, *, password: str = PASSWORD, database: str = "postgres") -> str:
        """Give the URL as an operator writes it."""
        return f"postgresql://ledger:{password}@127.0.0.1:{self.port}/{database}"

    def connect(self, *, autocommit: bool = True) -> psycopg.Connection:
        """Open a connection that may write."""
        return psycopg.connect(self.url(), autocommit=autocommit)


def programs() -> Path | None:
    """Give the folder of PostgreSQL's programs; None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    program = shutil.which("initdb")
    return Path(program).resolve().parent if program else None


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server of a fresh cluster, and end it."""
    bin_dir = programs()
    if bin_dir is None:
        pytest.skip("PostgreSQL is not installed")
    # PostgreSQL refuses to run as root; its folder must be the user's that runs it, and reachable for that user.
    user = "nobody" if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="tokenledger-pg-", dir="/tmp") as name:
        folder = Path(name)
        secret = folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        if user:
            for path in (folder, secret):
                shutil.chown(path, user)
        data = folder / "data"
        initdb = ["-D", data, "-U", "ledger", "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8", "--no-sync"]
        subprocess.run([bin_dir / "initdb", *initdb], check=True, capture_output=True, user=user, cwd=folder)
        port = _free_port()
        settings = {
            "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off",
            # Another zone than UTC: what is read must not depend on it.
            "timezone": "America/New_York", "max_connections": 20, "shared_buffers": "16MB",
        }  # fmt: skip
        options = [item for key, value in settings.items() for item in ("-c", f"{key}={value}")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [bin_dir / "postgres", "-D", data, *options], stdout=log, stderr=log, user=user, cwd=folder
            )
        try:
            postgres = Postgres(port)
            _wait_for(postgres, server)
            yield postgres
        finally:
            # A fast end, which does not wait for clients that are still there.
            server.send_signal(signal.SIGINT)
            server.wait(timeout=_START_SECONDS)


def _wait_for(postgres: Postgres, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            postgres.connect().close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
