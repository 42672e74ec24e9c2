"""Inventories of instances: periods, numbers of units, what must be there, what is refused."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from dagster_project.sources.inventory_files import InventoryFilesOptions
from tests.sources.pulling import FIXTURES, pull

COLUMNS = {
    "deployment_id": "pool", "instance_id": "instance", "starts_at": "launched", "ends_at": "terminated",
    "allocated_units": "gpus",
}  # fmt: skip
CONSTANTS = {"provider_name": "self_hosted", "model_id": "llama-3.3-70b-instruct", "commitment_id": "gpu-reserved-2026"}


def test_inventory_files_land_periods_of_instances(tmp_path: Path):
    path = str(FIXTURES / "inventory" / "instances.csv")
    pulled = pull(tmp_path, "inventory_files", path=path, format="csv", columns=COLUMNS, constants=CONSTANTS)
    first, second = pulled.rows()
    launched = datetime(2026, 7, 1, 0, 0, 30, tzinfo=UTC)
    assert (first["instance_id"], first["allocated_units"], first["ends_at"]) == ("i-01", 8, None)
    assert (first["starts_at"], first["observed_at"], first["is_snapshot"]) == (launched, launched, False)
    # Without a number it is one instance.
    assert (second["allocated_units"], second["ends_at"]) == (1, datetime(2026, 7, 2, 12, tzinfo=UTC))
    assert (first["provider_name"], first["commitment_id"]) == ("self_hosted", "gpu-reserved-2026")
    assert pulled.reasons() == {2: "value_missing", 3: "value_missing"}


@pytest.mark.parametrize(
    ("columns", "constants", "message"),
    [
        ({"deployment_id": "pool"}, CONSTANTS, "starts_at must be mapped"),
        ({"starts_at": "launched"}, CONSTANTS, "deployment_id must be mapped"),
        ({**COLUMNS, "observed_at": "launched"}, CONSTANTS, "observed_at cannot be mapped"),
        (COLUMNS, {"provider_name": "self_hosted"}, "model_id must be mapped"),
    ],
)
def test_inventory_files_refuse_a_mapping_that_does_not_say_what_runs(
    columns: dict[str, str], constants: dict[str, str], message: str
):
    given = {"name": "fleet", "kind": "inventory_files", "path": "x.csv", "format": "csv"}
    with pytest.raises(ValidationError, match=message):
        InventoryFilesOptions.model_validate({**given, "columns": columns, "constants": constants})
