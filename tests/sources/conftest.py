"""Servers that several connectors' tests share."""

from collections.abc import Iterator

import pytest

from tests.sources.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of the tests' own."""
    with running_postgres() as server:
        yield server
