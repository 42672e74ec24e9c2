"""What sources of KPI scores share: one score per record, mapped by name, read and judged the same wherever it is from.

A score is a number, or true/false as 1/0; what is only text goes to score_text. Scales, goals and what a KPI is worth
are reference data, not a connector's business.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field, field_validator

from dagster_project.sources._columns import blank_to_null, to_type
from dagster_project.sources._connector import UTC_TIMESTAMP, Batch, Entity
from dagster_project.sources._tabular import (
    ColumnMapping,
    ConstantColumn,
    ConstantValue,
    MappedOptions,
    RawBatch,
    known_column,
    mapped_batches,
    reject_where,
)

PROVENANCES = ("measured", "self_reported", "derived", "attested")
# A score is a decimal of 18 digits, 6 of them after the point.
SCORE_LIMIT = 1e12

SCORES = Entity(
    name="scores",
    schema=pa.schema(
        [
            ("kpi_name", pa.string()),
            ("score", pa.float64()),
            ("score_text", pa.string()),
            ("use_case_id", pa.string()),
            ("use_case_version", pa.string()),
            ("use_case_instance_id", pa.string()),
            ("scored_at", UTC_TIMESTAMP),
            ("provenance", pa.string()),
            ("attributes_json", pa.string()),
        ]
    ),
    day_column="scored_at",
)

_Column = Annotated[str, AfterValidator(known_column(SCORES))]
_TRUE_FALSE = {"true": "1", "false": "0"}


class KpiOptions(MappedOptions):
    """Options of records with one score each; kpi_name and scored_at must be mapped or constant."""

    entity: ClassVar[Entity] = SCORES

    columns: dict[_Column, str | ConstantColumn] = Field(min_length=1)
    constants: dict[_Column, ConstantValue] = Field(default_factory=dict)

    @field_validator("constants")
    @classmethod
    def _provenance_is_known(cls, constants: dict[str, ConstantValue]) -> dict[str, ConstantValue]:
        if constants.get("provenance", PROVENANCES[0]) not in PROVENANCES:
            msg = f"unknown provenance; known: {', '.join(PROVENANCES)}"
            raise ValueError(msg)
        return constants


def score_batches(path: Path, input_uri: str, options: KpiOptions) -> Iterator[Batch]:
    """Read the scores of a file: a table, or the JSON Lines that the answer of a system was spooled to."""
    required = ("kpi_name", "scored_at") if isinstance(options.columns.get("kpi_name"), str) else ("scored_at",)
    mapping = options.mapping({"provenance": PROVENANCES[0]}, required)

    def check(raw: RawBatch) -> RawBatch:
        scored = _within_limit(_scored(raw, mapping), mapping, options)
        return _known_provenance(scored, mapping)

    return mapped_batches(path, input_uri, options, mapping, check)


def _scored(raw: RawBatch, mapping: ColumnMapping) -> RawBatch:
    """Read true and false as 1 and 0, and reject records that have neither a score nor a text."""
    column = mapping.columns.get("score")
    if column is not None and pa.types.is_string(raw.columns[column].type):
        values = raw.columns[column]
        for word, number in _TRUE_FALSE.items():
            is_word = pc.fill_null(pc.equal(pc.utf8_lower(pc.utf8_trim_whitespace(values)), word), False)  # noqa: FBT003 - Arrow's signature
            values = pc.if_else(is_word, number, values)
        raw.columns[column] = values
    names = [mapping.columns[name] for name in ("score", "score_text") if name in mapping.columns]
    if not names or any(name in mapping.constants for name in ("score", "score_text")):
        return raw
    is_empty = pa.array([True] * raw.rows)
    for name in names:
        is_empty = pc.and_(is_empty, _present(raw.columns[name], mapping).is_null())
    return reject_where(raw, is_empty, "value_missing", "score: the record has neither a score nor a score_text")


def _within_limit(raw: RawBatch, mapping: ColumnMapping, options: KpiOptions) -> RawBatch:
    """Reject records whose score has more digits than a score can have: milliseconds since 1970, for instance."""
    column = mapping.columns.get("score")
    if column is None:
        return raw
    try:
        scores = to_type(raw.columns[column], pa.float64(), options.timestamp).values
    except TypeError:
        # Said by whoever types the columns.
        return raw
    is_too_large = pc.fill_null(pc.greater_equal(pc.abs(scores), SCORE_LIMIT), False)  # noqa: FBT003 - Arrow's signature
    return reject_where(raw, is_too_large, "value_unparsable", f"score: {column!r} is {SCORE_LIMIT:g} or more")


def _known_provenance(raw: RawBatch, mapping: ColumnMapping) -> RawBatch:
    column = mapping.columns.get("provenance")
    if column is None:
        return raw
    values = raw.columns[column]
    filled = pc.fill_null(_present(values.cast(pa.string()), mapping), PROVENANCES[0])
    raw.columns[column] = filled
    is_unknown = pc.invert(pc.is_in(filled, value_set=pa.array(PROVENANCES)))
    return reject_where(raw, is_unknown, "value_unknown", f"provenance is none of {', '.join(PROVENANCES)}")


def _present(values: pa.Array, mapping: ColumnMapping) -> pa.Array:
    return blank_to_null(values, list(mapping.null_words)) if pa.types.is_string(values.type) else values
