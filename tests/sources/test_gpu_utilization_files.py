"""Utilisation telemetry of GPU instances: shares and percents, what must be there, what is refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from dagster_project.sources.gpu_utilization_files import GpuUtilizationFilesOptions
from tests.sources.pulling import FIXTURES, pull

COLUMNS = {"measured_at": "ts", "instance_id": "host", "utilization_percent": "gpu_util", "deployment_id": "pool"}


def _options(**changed: object) -> dict[str, object]:
    given = {"name": "gpus", "kind": "gpu_utilization_files", "path": "x.csv", "format": "csv", "columns": COLUMNS}
    return {**given, **changed}


def test_gpu_utilization_files_lands_measurements_and_keeps_what_it_cannot_read(tmp_path: Path):
    path = str(FIXTURES / "gpu_utilization" / "measurements.csv")
    pulled = pull(tmp_path, "gpu_utilization_files", path=path, format="csv", columns=COLUMNS)
    found = [(row["deployment_id"], row["instance_id"], row["utilization_percent"]) for row in pulled.rows()]
    # A share above 100 % is a measurement that says something wrong, which staging rejects.
    assert found == [
        ("gpu-llama-eval", "gpu-0", 25.0),
        ("gpu-llama-eval", "gpu-1", 55.5),
        ("gpu-llama-eval", "gpu-1", 140.0),
    ]
    assert pulled.landing.rows_read == 7
    assert pulled.reasons() == {
        2: "value_missing", 3: "value_missing", 4: "value_unparsable", 5: "value_unparsable",
    }  # fmt: skip


def test_gpu_utilization_files_reads_shares_of_a_constant_deployment(tmp_path: Path):
    (tmp_path / "m.jsonl").write_text('{"at": "2026-07-01", "gpu": "a", "busy": 0.4}\n', encoding="utf-8")
    [row] = pull(
        tmp_path, "gpu_utilization_files", path=str(tmp_path / "m.jsonl"), format="jsonl",
        columns={"measured_at": "at", "instance_id": "gpu", "utilization_share": "busy"},
        constants={"deployment_id": "own"},
    ).rows()  # fmt: skip
    assert (row["deployment_id"], row["utilization_share"], row["utilization_percent"]) == ("own", 0.4, None)


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("deployment_id", "deployment_id must be mapped"),
        ("instance_id", "instance_id must be mapped"),
        ("utilization_percent", "exactly one of utilization_share and utilization_percent"),
        ("measured_at", "measured_at must be mapped"),
    ],
)
def test_gpu_utilization_files_refuses_a_mapping_that_does_not_say_what_was_measured(left_out: str, message: str):
    columns = {name: column for name, column in COLUMNS.items() if name != left_out}
    with pytest.raises(ValidationError, match=message):
        GpuUtilizationFilesOptions.model_validate(_options(columns=columns))


def test_gpu_utilization_files_refuses_two_measures():
    with pytest.raises(ValidationError, match="exactly one of"):
        GpuUtilizationFilesOptions.model_validate(_options(columns={**COLUMNS, "utilization_share": "share"}))
