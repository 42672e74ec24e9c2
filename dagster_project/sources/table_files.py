"""Calls in tables: Parquet, CSV or JSON Lines with one call per record, mapped to canonical columns by name.

Values land as reported: nothing is subtracted, no unit is converted, a negative count is left for staging. A
record is rejected only when a value cannot be read as its column's type or has no time. Which counts include
which is declared in the configuration and lands beside the counts.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field, model_validator

from dagster_project.sources._connector import (
    UTC_TIMESTAMP,
    Batch,
    Connector,
    Entity,
    InputPull,
    PullContext,
)
from dagster_project.sources._files import content_name, file_inputs
from dagster_project.sources._tabular import (
    ConstantColumn,
    ConstantValue,
    MappedTableOptions,
    known_column,
    mapped_batches,
)

CALLS = Entity(
    name="calls",
    schema=pa.schema(
        [
            ("event_at", UTC_TIMESTAMP),
            ("call_id", pa.string()),
            ("provider_name", pa.string()),
            ("model_name", pa.string()),
            ("operation_name", pa.string()),
            ("deployment_id", pa.string()),
            ("spillover_from_deployment_id", pa.string()),
            ("region_id", pa.string()),
            ("service_tier", pa.string()),
            ("use_case_id", pa.string()),
            ("use_case_version", pa.string()),
            ("use_case_instance_id", pa.string()),
            ("conversation_id", pa.string()),
            ("turn_index", pa.int32()),
            ("agent_id", pa.string()),
            ("step_name", pa.string()),
            ("attempt_index", pa.int32()),
            ("team_name", pa.string()),
            ("environment_name", pa.string()),
            ("customer_id", pa.string()),
            ("billing_account_id", pa.string()),
            ("user_id", pa.string()),
            ("is_success", pa.bool_()),
            ("error_type", pa.string()),
            ("is_spillover", pa.bool_()),
            ("latency_ms", pa.float64()),
            ("time_to_first_token_ms", pa.float64()),
            ("input_tokens", pa.int64()),
            ("cache_read_tokens", pa.int64()),
            ("cache_write_5m_tokens", pa.int64()),
            ("cache_write_1h_tokens", pa.int64()),
            ("output_tokens", pa.int64()),
            ("reasoning_tokens", pa.int64()),
            ("input_audio_tokens", pa.int64()),
            ("output_audio_tokens", pa.int64()),
            ("input_image_tokens", pa.int64()),
            ("web_search_count", pa.int64()),
            ("input_includes_cache", pa.bool_()),
            ("output_includes_reasoning", pa.bool_()),
            ("attributes_json", pa.string()),
        ]
    ),
    day_column="event_at",
    user_columns=("user_id",),
    token_columns=("input_tokens", "output_tokens"),
)

_CACHE_COLUMNS = {"cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"}

_Column = Annotated[str, AfterValidator(known_column(CALLS))]


class TableFilesOptions(MappedTableOptions):
    """Options of a table of calls.

    Attributes:
        input_includes_cache: Whether the input count includes cached tokens; required once a cache column is
            mapped.
        output_includes_reasoning: Whether the output count includes reasoning; required once reasoning is
            mapped.
    """

    entity: ClassVar[Entity] = CALLS

    columns: dict[_Column, str | ConstantColumn] = Field(min_length=1)
    constants: dict[_Column, ConstantValue] = Field(default_factory=dict)
    input_includes_cache: bool | None = None
    output_includes_reasoning: bool | None = None

    @model_validator(mode="after")
    def _inclusions_are_stated(self) -> "TableFilesOptions":
        mapped = {*self.columns, *self.constants}
        stated = mapped | {name for name in _INCLUSIONS if getattr(self, name) is not None}
        if mapped & _CACHE_COLUMNS and "input_includes_cache" not in stated:
            msg = "cache columns are mapped: say by 'input_includes_cache' whether input_tokens has them"
            raise ValueError(msg)
        if "reasoning_tokens" in mapped and "output_includes_reasoning" not in stated:
            msg = "reasoning is mapped: say by 'output_includes_reasoning' whether output_tokens has it"
            raise ValueError(msg)
        return self


_INCLUSIONS = ("input_includes_cache", "output_includes_reasoning")


def _read(options: TableFilesOptions, context: PullContext) -> Iterator[InputPull]:
    inclusions = {name: getattr(options, name) is not False for name in _INCLUSIONS}
    mapping = options.mapping({"operation_name": "chat", **inclusions}, ("event_at",))

    def read(path: Path, input_uri: str) -> Iterator[Batch]:
        name = content_name(path)
        for batch in mapped_batches(path, input_uri, options, mapping):
            yield _with_call_ids(batch, name)

    return file_inputs(options, context, read)


def _with_call_ids(batch: Batch, name: Callable[[], str]) -> Batch:
    """Give calls without an id one that is the same wherever the file lies: by its content and the position in it."""
    ids = batch.records.column("call_id")
    if not ids.null_count:
        return batch
    positions = batch.record_index.cast(pa.string())
    numbered = pc.binary_join_element_wise(pa.scalar(name()), positions, ":")
    place = CALLS.schema.get_field_index("call_id")
    records = batch.records.set_column(place, CALLS.schema.field(place), pc.coalesce(ids, numbered))
    return replace(batch, records=records)


connector = Connector(
    kind="table_files", feed="usage", entities=(CALLS,), options=TableFilesOptions, read=_read, version=2
)
