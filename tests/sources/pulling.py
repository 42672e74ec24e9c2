"""Pulling a source into a fresh landing zone and reading back what landed, for all connectors' tests."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.sources import discover
from dagster_project.warehouse.landing import Landing, LandingZone, SourceFailure, pull_source

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
NOW = datetime(2026, 10, 1, tzinfo=UTC)


@dataclass
class Pulled:
    """What one pull gave.

    Attributes:
        zone: Where it landed.
        results: Landings and failures.
    """

    zone: LandingZone
    results: list[Landing | SourceFailure]

    @property
    def landing(self) -> Landing:
        """The only landing."""
        [landing] = self.results
        assert isinstance(landing, Landing), landing
        return landing

    @property
    def failure(self) -> SourceFailure:
        """The only failure."""
        [failure] = self.results
        assert isinstance(failure, SourceFailure), failure
        return failure

    def landings(self) -> dict[str, Landing]:
        """The landings by entity."""
        return {item.entity: item for item in self.results if isinstance(item, Landing)}

    def rows(self, entity: str | None = None) -> list[dict[str, Any]]:
        """The landed records, in the input's order."""
        landing = self.landings()[entity] if entity else self.landing
        tables = [pq.read_table(file.path, partitioning=None) for file in landing.files]
        records = pa.concat_tables(tables).to_pylist() if tables else []
        return sorted(records, key=lambda record: record["record_index"])

    def rejects(self) -> list[dict[str, Any]]:
        """The rejected records, in the input's order."""
        file = self.landing.rejects_file
        records = pq.read_table(file.path).to_pylist() if file else []
        return sorted(records, key=lambda record: record["record_index"])

    def reasons(self) -> dict[int, str]:
        """Reason codes of the rejected records by their position."""
        return {record["record_index"]: record["reason_code"] for record in self.rejects()}


def pull(
    folder: Path,
    kind: str,
    now: datetime = NOW,
    reference_dir: Path | None = None,
    **options: Any,  # noqa: ANN401 - any option
) -> Pulled:
    """Pull a source of a kind into the landing zone below a folder."""
    connector = discover()[kind]
    checked = connector.options.model_validate({"name": "feed", "kind": kind, **options})
    zone = LandingZone(folder / "landing")
    return Pulled(zone, pull_source(zone, connector, checked, now=now, reference_dir=reference_dir))
