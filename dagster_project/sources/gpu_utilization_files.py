"""Utilisation telemetry of GPU instances: CSV, Parquet or JSON Lines with one measurement per record, mapped by name.

A measurement says which share of an instance was busy at an instant; DCGM and nvidia-smi count in percent. Which
capacity the instance is part of is its deployment's business, what a busy share costs is the warehouse's.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

import pyarrow as pa
from pydantic import AfterValidator, Field, model_validator

from dagster_project.sources._connector import UTC_TIMESTAMP, Batch, Connector, Entity, InputPull, PullContext
from dagster_project.sources._files import file_inputs
from dagster_project.sources._tabular import (
    ConstantColumn,
    ConstantValue,
    MappedTableOptions,
    known_column,
    mapped_batches,
)

MEASUREMENTS = Entity(
    name="measurements",
    schema=pa.schema(
        [
            ("deployment_id", pa.string()),
            ("instance_id", pa.string()),
            ("utilization_share", pa.float64()),
            ("utilization_percent", pa.float64()),
            ("measured_at", UTC_TIMESTAMP),
            ("attributes_json", pa.string()),
        ]
    ),
    day_column="measured_at",
)

_Column = Annotated[str, AfterValidator(known_column(MEASUREMENTS))]
_MEASURES = ("utilization_share", "utilization_percent")


class GpuUtilizationFilesOptions(MappedTableOptions):
    """Options of a table of measurements; instance_id, deployment_id and one of the two measures must be given."""

    entity: ClassVar[Entity] = MEASUREMENTS

    columns: dict[_Column, str | ConstantColumn] = Field(min_length=1)
    constants: dict[_Column, ConstantValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_what_was_measured(self) -> "GpuUtilizationFilesOptions":
        given = {*self.columns, *self.constants}
        if missing := {"deployment_id", "instance_id"} - given:
            msg = f"{', '.join(sorted(missing))} must be mapped to a column of the file or be constant"
            raise ValueError(msg)
        if len(given & set(_MEASURES)) != 1:
            msg = f"exactly one of {' and '.join(_MEASURES)} must be mapped to a column of the file"
            raise ValueError(msg)
        return self


def _read(options: GpuUtilizationFilesOptions, context: PullContext) -> Iterator[InputPull]:
    required = ("deployment_id", "instance_id", *_MEASURES, "measured_at")
    mapping = options.mapping({}, tuple(name for name in required if isinstance(options.columns.get(name), str)))

    def read(path: Path, input_uri: str) -> Iterator[Batch]:
        return mapped_batches(path, input_uri, options, mapping)

    return file_inputs(options, context, read)


connector = Connector(
    kind="gpu_utilization_files",
    feed="capacity",
    entities=(MEASUREMENTS,),
    options=GpuUtilizationFilesOptions,
    read=_read,
)
