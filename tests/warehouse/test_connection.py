"""The warehouse file: one writer at a time, UTC, the schemas that dbt does not own."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from dagster_project.settings import Settings
from dagster_project.warehouse.connection import SCHEMAS, open_warehouse, writer_lock
from tests.integration.small_company import SmallCompany


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return SmallCompany.found(tmp_path / "company").settings


def test_warehouse_opens_in_utc_with_its_schemas(settings: Settings):
    with open_warehouse(settings) as con:
        assert con.execute("select current_setting('TimeZone')").fetchone() == ("UTC",)
        found = {row[0] for row in con.execute("select schema_name from information_schema.schemata").fetchall()}
    assert set(SCHEMAS) <= found


def test_warehouse_is_free_again_after_a_failure(settings: Settings):
    with pytest.raises(ZeroDivisionError), open_warehouse(settings):
        raise ZeroDivisionError
    with FileLock(writer_lock(settings).lock_file, timeout=0, is_singleton=False):
        assert settings.warehouse_path.exists()


def test_lock_is_reentrant_within_a_process_and_exclusive_between_processes(settings: Settings):
    with writer_lock(settings), writer_lock(settings), open_warehouse(settings):
        other = FileLock(writer_lock(settings).lock_file, is_singleton=False)
        with pytest.raises(Timeout):
            other.acquire(timeout=0)
    other.acquire(timeout=0)
    other.release()


def test_writer_that_is_killed_leaves_the_lock_to_the_next(settings: Settings):
    path = writer_lock(settings).lock_file
    code = """
import sys, time, filelock
lock = filelock.FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            with pytest.raises(Timeout):
                writer_lock(settings).acquire(timeout=0)
        finally:
            holder.kill()
    started = time.monotonic()
    with open_warehouse(settings):
        assert time.monotonic() - started < 5
