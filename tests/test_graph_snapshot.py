"""The asset graph of the demo company, as a picture of text: what depends on what, is judged by what, runs when.

A change that is meant is taken over with `--snapshot-update` and read in the diff; any other is a mistake.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.amber import AmberSnapshotExtension

from dagster_project.build import build_defs
from dagster_project.settings import load_settings


class GraphSnapshot(AmberSnapshotExtension):
    """Snapshots kept with the other fixtures."""

    snapshot_dirname = "fixtures/snapshots"


@pytest.fixture
def snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(GraphSnapshot)


@pytest.fixture(scope="module")
def repository_def(tmp_path_factory: pytest.TempPathFactory) -> dg.RepositoryDefinition:
    """The demo company's definitions, built as the code location builds them."""
    settings = load_settings(state_dir=tmp_path_factory.mktemp("graph"), environ={})
    return build_defs(settings=settings).get_repository_def()


def _names(keys: Iterable[dg.AssetKey]) -> str:
    return ", ".join(sorted(key.to_user_string() for key in keys))


def _assets(repository_def: dg.RepositoryDefinition) -> Iterator[str]:
    for node in repository_def.asset_graph.asset_nodes:
        days = " [daily]" if node.partitions_def is not None else ""
        yield f"{node.group_name}: {node.key.to_user_string()}{days} <- {_names(node.parent_keys) or '-'}"


def _checks(repository_def: dg.RepositoryDefinition) -> Iterator[str]:
    graph = repository_def.asset_graph
    for key in graph.asset_check_keys:
        severity = "block" if graph.get(key).blocking else "warn"
        yield f"{key.asset_key.to_user_string()}: {key.name} ({severity})"


def _selection(job: dg.JobDefinition) -> list[str]:
    return sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)


def test_assets_have_these_groups_and_dependencies(
    repository_def: dg.RepositoryDefinition, snapshot: SnapshotAssertion
):
    assert sorted(_assets(repository_def)) == snapshot


def test_assets_are_judged_by_these_checks(repository_def: dg.RepositoryDefinition, snapshot: SnapshotAssertion):
    assert sorted(_checks(repository_def)) == snapshot


def test_jobs_select_these_assets(repository_def: dg.RepositoryDefinition, snapshot: SnapshotAssertion):
    jobs = [job for job in repository_def.get_all_jobs() if not job.name.startswith("__")]
    selections: dict[str, Any] = {job.name: [job.executor_def.name, *_selection(job)] for job in jobs}
    assert selections == snapshot


def test_runs_start_at_these_times(repository_def: dg.RepositoryDefinition, snapshot: SnapshotAssertion):
    schedules = [
        f"{item.name}: {item.job_name} at {item.cron_schedule} {item.execution_timezone}, {item.default_status.value}"
        for item in repository_def.schedule_defs
    ]
    sensors = [
        f"{item.name}: {item.job_name} every {item.minimum_interval_seconds} s, {item.default_status.value}"
        for item in repository_def.sensor_defs
    ]
    assert sorted([*schedules, *sensors]) == snapshot
