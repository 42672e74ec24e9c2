"""The days of a run from its tags."""

from datetime import date
from pathlib import Path

import pytest

from dagster_project.settings import Settings
from dagster_project.warehouse.calendar import AFTER_ALL, BEFORE_ALL, Window
from dagster_project.warehouse.run_window import range_tags, run_window
from tests.integration.small_company import SmallCompany


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return SmallCompany.found(tmp_path / "company").settings


def test_run_of_a_range_builds_that_range(settings: Settings):
    tags = range_tags(date(2026, 3, 3), date(2026, 3, 5))
    assert run_window(tags, settings) == Window(date(2026, 3, 3), date(2026, 3, 5))


def test_run_of_one_partition_builds_that_day(settings: Settings):
    assert run_window({"dagster/partition": "2026-03-04"}, settings) == Window(date(2026, 3, 4), date(2026, 3, 4))


def test_range_wins_over_a_partition(settings: Settings):
    tags = {**range_tags(date(2026, 3, 3), date(2026, 3, 5)), "dagster/partition": "2026-03-04"}
    assert run_window(tags, settings) == Window(date(2026, 3, 3), date(2026, 3, 5))


def test_range_that_touches_the_ends_takes_in_stray_records(settings: Settings):
    tags = range_tags(date(2026, 3, 2), date(2026, 3, 8))
    assert run_window(tags, settings) == Window(BEFORE_ALL, AFTER_ALL)


def test_run_without_tags_builds_everything(settings: Settings):
    assert run_window({"user": "someone"}, settings) == Window(BEFORE_ALL, AFTER_ALL)
