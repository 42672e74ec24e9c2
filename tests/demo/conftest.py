"""Feeds of a small company, generated once for all tests of the demo; tests only read them."""

from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest

from dagster_project.demo.novaspark import generate
from dagster_project.demo.truths import Truths


class Feeds(NamedTuple):
    """Where the feed files are and what is planted in them."""

    folder: Path
    truths: Truths


@pytest.fixture(scope="session")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> Feeds:
    """Six weeks of 60,000 calls from 2026-07-01: two invoices per provider, all plants."""
    folder = tmp_path_factory.mktemp("feeds")
    return Feeds(folder, generate(folder, calls=60_000, days=42))


@pytest.fixture(scope="session")
def small_feeds(tmp_path_factory: pytest.TempPathFactory) -> Feeds:
    """The smallest sensible demo, 5,000 calls in ten days."""
    folder = tmp_path_factory.mktemp("small_feeds")
    return Feeds(folder, generate(folder, calls=5_000, days=10, start_date=date(2026, 7, 1)))
