"""Inventories of instances and deployments: CSV, Parquet or JSON Lines with one per record, mapped by name.

A record says which deployment an instance, or a group of `allocated_units` instances, is part of, and from when to
when; one without an end still runs. What a deployment holds at a time is the sum of its records.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field, field_validator, model_validator

from dagster_project.sources._capacity import DEPLOYMENTS
from dagster_project.sources._connector import Batch, Connector, Entity, InputPull, PullContext
from dagster_project.sources._files import file_inputs
from dagster_project.sources._tabular import (
    ConstantColumn,
    ConstantValue,
    MappedTableOptions,
    known_column,
    mapped_batches,
)

_SET = ("is_snapshot", "observed_at")
_REQUIRED = ("deployment_id", "provider_name", "model_id", "starts_at")
_ENTITY = replace(DEPLOYMENTS, may_be_empty=False)
_Column = Annotated[str, AfterValidator(known_column(_ENTITY))]


class InventoryFilesOptions(MappedTableOptions):
    """Options of an inventory; deployment_id, provider_name, model_id and starts_at must be given."""

    entity: ClassVar[Entity] = _ENTITY

    columns: dict[_Column, str | ConstantColumn] = Field(min_length=1)
    constants: dict[_Column, ConstantValue] = Field(default_factory=dict)

    @property
    def commitment_ids(self) -> frozenset[str]:
        """The commitment that all records are said to draw on."""
        column = self.columns.get("commitment_id")
        value = column.constant if isinstance(column, ConstantColumn) else self.constants.get("commitment_id")
        return frozenset() if value is None else frozenset({str(value)})

    @field_validator("columns")
    @classmethod
    def _time_is_a_column(cls, columns: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(columns.get("starts_at"), str):
            msg = "starts_at must be mapped to a column of the file"
            raise ValueError(msg)
        return columns

    @model_validator(mode="after")
    def _says_what_runs(self) -> "InventoryFilesOptions":
        given = {*self.columns, *self.constants}
        if missing := set(_REQUIRED) - given:
            msg = f"{', '.join(sorted(missing))} must be mapped to a column of the file or be constant"
            raise ValueError(msg)
        if unasked := given & set(_SET):
            msg = f"{', '.join(sorted(unasked))} cannot be mapped: starts_at says since when a record holds"
            raise ValueError(msg)
        return self


def _read(options: InventoryFilesOptions, context: PullContext) -> Iterator[InputPull]:
    required = tuple(name for name in _REQUIRED if isinstance(options.columns.get(name), str))
    mapping = options.mapping({"allocated_units": 1, "is_snapshot": False}, required)

    def read(path: Path, input_uri: str) -> Iterator[Batch]:
        for batch in mapped_batches(path, input_uri, options, mapping):
            yield replace(batch, records=_completed(batch.records))

    return file_inputs(options, context, read)


def _completed(records: pa.RecordBatch) -> pa.RecordBatch:
    """A record is observed when it starts, and without a number of units it is of one instance."""
    columns = {name: records.column(name) for name in records.schema.names}
    columns["observed_at"] = columns["starts_at"]
    columns["allocated_units"] = pc.fill_null(columns["allocated_units"], 1)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=records.schema)


connector = Connector(
    kind="inventory_files", feed="capacity", entities=(_ENTITY,), options=InventoryFilesOptions, read=_read
)
