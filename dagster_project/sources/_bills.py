"""What bills in tables share: deliveries, what a delivery states anew, and columns of which others are kept.

An issuer's export is a file, or a folder of parts that count as one: a folder is one input, landed whole or not at
all, so that an export which is written again with fewer parts leaves none of the former ones behind. Which of a bill's
columns mean what is the connectors' business.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._connector import UTC_TIMESTAMP, Batch, Entity, InputIdentity, InputPull, PullContext
from dagster_project.sources._files import dated, file_inputs
from dagster_project.sources._tabular import (
    ColumnMapping,
    RawBatch,
    TableOptions,
    attributes_json,
    column_names,
    read_raw,
    typed_batch,
)

AMOUNT_TYPE = pa.decimal128(38, 18)
DELIVERY_COLUMNS = [
    ("delivery_id", pa.string()),
    ("restated_period", pa.string()),
    ("modified_at", UTC_TIMESTAMP),
    ("attributes_json", pa.string()),
]
"""The columns of a bill's entity that no issuer writes: what arrived at once, what it restates, when it was last
written, and what else it has.
"""

Delivery = Literal["file", "folder"]
RestatedPeriod = Literal["charge_period", "billing_period", "nothing"]

_NULL_WORDS = ("", "NULL")
# No column of a file can have this name: it is not text that a header could hold.
_OTHERS = "\x00others"


class BillOptions(TableOptions):
    """Options of bills.

    Attributes:
        format: csv or parquet; by the file's name when it is not given.
        delivery: What arrives at once: a file, or all files of a folder, for exports that are written in parts.
        restates: What a delivery states anew of a billing account's billing period, so that former deliveries of it
            are superseded: each charge period that it has charges of (daily files, invoices issued again), the
            whole billing period (month-to-date exports), or nothing (files that only ever add charges).
    """

    format: Literal["csv", "parquet"] = "csv"
    delivery: Delivery = "file"
    restates: RestatedPeriod = "charge_period"


class ExportOptions(BillOptions):
    """Options of a cloud's cost export: a folder per run or month, whose files state the whole month anew."""

    delivery: Delivery = "folder"
    restates: RestatedPeriod = "billing_period"


@dataclass(frozen=True)
class BillFormat:
    """How an issuer's table becomes an entity's records.

    Attributes:
        entity: What its rows land as; ends in `DELIVERY_COLUMNS`.
        title: What the file is, for messages: `a FOCUS cost and usage file`.
        columns: Gives, for the columns that a file has, the entity's columns and which of the file's they come from.
        needed: The entity's columns that every file has, by what the issuer calls them.
        required: The entity's columns that no record leaves empty.
        constants: Gives further columns' values, for the columns that a file has.
        prepared: Rewrites raw columns before they are typed, by their names in the entity.
    """

    entity: Entity
    title: str
    columns: Callable[[list[str]], dict[str, str]]
    needed: Mapping[str, str]
    required: tuple[str, ...]
    constants: Callable[[list[str]], dict[str, Any]] = lambda _: {}
    prepared: Mapping[str, Callable[[pa.Array], pa.Array]] | None = None


def bill_inputs(options: BillOptions, context: PullContext, form: BillFormat) -> Iterator[InputPull]:
    """List the deliveries of a bill's source as inputs."""

    def read(path: Path, input_uri: str) -> Iterator[Batch]:
        yield from _batches(path, input_uri, _options_for(path, options), form)

    return deliveries(file_inputs(options, context, read), options.delivery)


def deliveries(files: Iterable[InputPull], delivery: Delivery) -> Iterator[InputPull]:
    """Make inputs of what arrives at once: each file, or the files of each folder, as old as its newest part."""
    if delivery == "file":
        yield from map(dated, files)
        return
    by_folder = sorted(files, key=lambda pull: (_folder(pull.input_uri), pull.input_uri))
    for folder, found in groupby(by_folder, key=lambda pull: _folder(pull.input_uri)):
        parts = list(found)
        try:
            yield dated(_folder_input(folder, parts))
        finally:
            for part in parts:
                part.release()


def delivered(input_uri: str, delivery: Delivery, restates: RestatedPeriod) -> dict[str, str]:
    """Give the columns that say which delivery a file belongs to, and what it states anew."""
    return {
        "delivery_id": input_uri if delivery == "file" else _folder(input_uri),
        "restated_period": restates,
    }


def named_alike(names: Mapping[str, tuple[str, ...]], present: list[str]) -> dict[str, str]:
    """Find columns by the names that an issuer gave them over the years, in any case; the first name that is there.

    Args:
        names: The entity's columns and their names in files.
        present: The columns that a file has.
    """
    by_name = {name.strip().casefold(): name for name in reversed(present)}
    found: dict[str, str] = {}
    for column, candidates in names.items():
        name = next((by_name[item.casefold()] for item in candidates if item.casefold() in by_name), None)
        if name is not None:
            found[column] = name
    return found


def _folder(input_uri: str) -> str:
    return input_uri.rpartition("/")[0] or "."


def _folder_input(folder: str, parts: list[InputPull]) -> InputPull:
    """Make one input of a folder's files, read in the order of their names."""

    def identify() -> InputIdentity:
        found = [(part.input_uri, part.identify()) for part in parts]
        names = "".join(f"{name}\n{identity.sha256}\n" for name, identity in found)
        return InputIdentity(_sha256(names), sum(identity.size_bytes for _, identity in found))

    def batches() -> Iterator[Batch]:
        first = 0
        for part in parts:
            read = 0
            for batch in part.batches():
                read += batch.rows_read
                yield _moved(batch, first)
            first += read

    stamps = [f"{part.input_uri}\n{part.stamp}\n" for part in parts if part.stamp]
    return InputPull(
        folder,
        _sha256("".join(stamps)) if len(stamps) == len(parts) else "",
        identify,
        batches,
        modified_at=max((part.modified_at for part in parts if part.modified_at), default=None),
    )


def _moved(batch: Batch, first: int) -> Batch:
    """Number a part's records on from those of the parts before it."""
    return replace(
        batch,
        record_index=pc.add(batch.record_index, first),
        rejects=tuple(replace(reject, record_index=reject.record_index + first) for reject in batch.rejects),
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _options_for(path: Path, options: BillOptions) -> BillOptions:
    if "format" in options.model_fields_set or path.suffix.lower() != ".parquet":
        return options
    return options.model_copy(update={"format": "parquet"})


def _batches(path: Path, input_uri: str, options: BillOptions, form: BillFormat) -> Iterator[Batch]:
    null_words = tuple(dict.fromkeys([*_NULL_WORDS, *options.null_words]))
    present = column_names(path, input_uri, options)
    columns = form.columns(present)
    absent = [name for name, column in form.needed.items() if column not in columns]
    if absent:
        msg = (
            f"Read {input_uri}: column {', '.join(absent)} is absent, expected {form.title} with "
            f"{', '.join(form.needed)}. Deliver such a file or configure it as another kind."
        )
        raise PermanentSourceError(msg)
    others = [name for name in dict.fromkeys(present) if name not in columns.values()]
    mapping = ColumnMapping(
        columns={**columns, "attributes_json": _OTHERS},
        constants={**form.constants(present), **delivered(input_uri, options.delivery, options.restates)},
        required=form.required,
        null_words=null_words,
    )
    for raw in read_raw(path, input_uri, options, [*columns.values(), *others]):
        _prepare(raw, columns, form)
        raw.columns[_OTHERS] = attributes_json(raw, others, null_words)
        yield typed_batch(raw, form.entity, mapping, options.timestamp, input_uri)


def _prepare(raw: RawBatch, columns: Mapping[str, str], form: BillFormat) -> None:
    for column, prepare in (form.prepared or {}).items():
        if column in columns and pa.types.is_string(raw.columns[columns[column]].type):
            raw.columns[columns[column]] = prepare(raw.columns[columns[column]])
