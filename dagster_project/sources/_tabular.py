"""Tables in files: CSV, Parquet and JSON Lines as raw column batches, and their typing with rejects by row.

`read_raw` knows the formats; `typed_batch` turns raw columns into an entity's schema by a mapping. Which
columns an entity has, and what they are called in a file, belongs to the connectors.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._columns import (
    TimestampOptions,
    blank_to_null,
    constant,
    from_python,
    text_of,
    to_type,
    true_positions,
)
from dagster_project.sources._connector import Batch, Entity, FileSourceOptions, Reject, SourceOptions
from dagster_project.sources._files import (
    UTF8_MARK,
    compression_of,
    first_bytes,
    open_bytes,
    refuse_utf16,
    text_lines,
)
from dagster_project.sources._json import readable

TableFormat = Literal["parquet", "csv", "jsonl"]
ConstantValue = StrictBool | StrictInt | StrictStr

BATCH_ROWS = 131_072
_JSONL_BATCH_BYTES = 16 * 1024 * 1024
_JSONL_LINE_LIMIT_BYTES = 64 * 1024 * 1024
_CSV_BLOCK_BYTES = 8 * 1024 * 1024
_HEADER_LIMIT_BYTES = 1024 * 1024


class ConstantColumn(BaseModel):
    """A canonical column that has the same value in every record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    constant: ConstantValue


class RecordOptions(SourceOptions):
    """Options of a source whose records have typed columns.

    Attributes:
        timestamp: How the records write instants.
        null_words: Text that means null, beside empty text.
    """

    timestamp: TimestampOptions = TimestampOptions()
    null_words: tuple[str, ...] = ()


class TableOptions(FileSourceOptions, RecordOptions):
    """Options of a source whose inputs are tables in files.

    Attributes:
        format: What the files are; compressed text is recognised by .gz and .zst.
        delimiter: Of CSV.
        encoding: Of CSV.
    """

    format: TableFormat
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: str = "utf-8"


def known_column(entity: Entity) -> Callable[[str], str]:
    """Give a validator that refuses names which are not columns of the entity."""

    def check(name: str) -> str:
        if name not in entity.schema.names:
            msg = f"unknown canonical column; known: {', '.join(entity.schema.names)}"
            raise ValueError(msg)
        return name

    return check


class MappedOptions(RecordOptions):
    """Options of records whose members are mapped to canonical columns by name.

    Attributes:
        columns: Canonical name to the record's own name, or to `{constant: value}`. In JSON `a.b` looks into `a`.
        constants: Canonical name to a value that every record has.
        keep_unmapped: Whether the record's other members are kept in attributes_json.
    """

    entity: ClassVar[Entity]

    columns: dict[str, str | ConstantColumn] = Field(min_length=1)
    constants: dict[str, ConstantValue] = Field(default_factory=dict)
    keep_unmapped: bool = False

    @field_validator("columns")
    @classmethod
    def _time_is_a_column(cls, columns: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(columns.get(str(cls.entity.day_column)), str):
            msg = f"{cls.entity.day_column} must be mapped to a column of the records"
            raise ValueError(msg)
        return columns

    @field_validator("columns", "constants")
    @classmethod
    def _constants_fit(cls, values: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        for name, value in values.items():
            if isinstance(value, ConstantColumn):
                constant_of(cls.entity, name, value.constant)
            elif info.field_name == "constants":
                constant_of(cls.entity, name, value)
        return values

    @model_validator(mode="after")
    def _attributes_have_one_origin(self) -> "MappedOptions":
        if self.keep_unmapped and "attributes_json" in {*self.columns, *self.constants}:
            msg = "'keep_unmapped' fills attributes_json, so it cannot be mapped too"
            raise ValueError(msg)
        return self

    def mapping(self, defaults: Mapping[str, Any], required: tuple[str, ...]) -> "ColumnMapping":
        """Give the mapping that the options describe, over default constants."""
        columns = {name: column for name, column in self.columns.items() if isinstance(column, str)}
        given = {**self.constants}
        given |= {name: column.constant for name, column in self.columns.items() if isinstance(column, ConstantColumn)}
        constants = {
            **defaults,
            **{name: constant_of(self.entity, name, value) for name, value in given.items()},
        }
        return ColumnMapping(columns, constants, required, ("", *self.null_words))


class MappedTableOptions(TableOptions, MappedOptions):
    """Options of tables in files whose columns are mapped to canonical ones by name."""


def constant_of(entity: Entity, name: str, value: ConstantValue) -> object:
    """Read a configured constant as its column's type; raises ValueError when it is not one."""
    kind = entity.schema.field(name).type
    text = str(value).lower() if isinstance(value, bool) else str(value)
    typed = to_type(pa.array([text]), kind, TimestampOptions())
    if typed.is_bad is not None:
        msg = f"the constant of {name} cannot be read as {kind}"
        raise ValueError(msg)
    return typed.values[0].as_py()


@dataclass
class RawBatch:
    """Consecutive records as a file has them.

    Attributes:
        columns: The columns by their names in the file.
        record_index: int64, position of every record.
        raw_text: Gives the raw content of records by their positions in this batch.
        rejects: Records that have no columns because they could not even be split into fields.
    """

    columns: dict[str, pa.Array]
    record_index: np.ndarray
    raw_text: Callable[[Sequence[int]], list[str]]
    rejects: list[Reject] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Number of records that have columns."""
        return len(self.record_index)


@dataclass(frozen=True)
class ColumnMapping:
    """How an entity's columns come from a file.

    Attributes:
        columns: Canonical name to the file's name.
        constants: Canonical name to a value.
        required: Canonical names that must not be null.
        null_words: Text that means null.
    """

    columns: Mapping[str, str]
    constants: Mapping[str, Any]
    required: tuple[str, ...]
    null_words: tuple[str, ...] = ()


def read_raw(
    path: Path, input_uri: str, options: TableOptions, wanted: Sequence[str], *, with_others: bool = False
) -> Iterator[RawBatch]:
    """Read a table in batches.

    Args:
        path: The file.
        input_uri: Its name in messages.
        options: Format and how its text is written.
        wanted: The columns to read; in JSON Lines `a.b` is a member of a member.
        with_others: Whether the file's other columns are read too.

    Raises:
        PermanentSourceError: a wanted column is absent, or the file is not what its format promises.
    """
    if options.format == "jsonl":
        return read_json_lines(path, input_uri, wanted, with_others=with_others)
    reader = {"parquet": _read_parquet, "csv": _read_csv}[options.format]
    return reader(path, input_uri, options, _Wanted(tuple(dict.fromkeys(wanted)), with_others))


@dataclass(frozen=True)
class _Wanted:
    """Which columns to read: those named, and the others if asked for."""

    names: tuple[str, ...]
    with_others: bool

    def of(self, present: Sequence[str], input_uri: str) -> list[str]:
        """Choose among a file's columns; raises PermanentSourceError when a named one is absent."""
        absent = [name for name in self.names if name not in present]
        if absent:
            msg = (
                f"Read {input_uri}: column {', '.join(map(repr, absent))} is absent, the file has "
                f"{', '.join(map(repr, present))}. Correct `columns` in the source configuration or the file."
            )
            raise PermanentSourceError(msg)
        repeated = [name for name in self.names if list(present).count(name) > 1]
        if repeated:
            msg = (
                f"Read {input_uri}: column {', '.join(map(repr, repeated))} occurs more than once, "
                "expected once. Correct the file's header."
            )
            raise PermanentSourceError(msg)
        return self.chosen(present)

    def chosen(self, present: Iterable[str]) -> list[str]:
        """Give the named columns, then the others of `present` if they are asked for."""
        return list(dict.fromkeys([*self.names, *present])) if self.with_others else list(self.names)


def column_names(path: Path, input_uri: str, options: TableOptions) -> list[str]:
    """Give the names of a CSV or Parquet file's columns."""
    if options.format == "parquet":
        return list(_open_parquet(path, input_uri).schema_arrow.names)
    return _csv_header(path, input_uri, options)


def typed_batch(
    raw: RawBatch, entity: Entity, mapping: ColumnMapping, timestamp: TimestampOptions, input_uri: str
) -> Batch:
    """Type the columns of a raw batch; a record with a value that cannot be read becomes a reject.

    Raises:
        PermanentSourceError: a column's type can never be read as the canonical type.
    """
    arrays: list[pa.Array] = []
    problems: list[tuple[pa.Array, str, str]] = []
    for item in entity.schema:
        source = mapping.columns.get(item.name)
        if source is None:
            arrays.append(constant(mapping.constants.get(item.name), item.type, raw.rows))
            continue
        values = raw.columns[source]
        if mapping.null_words and pa.types.is_string(values.type):
            values = blank_to_null(values, list(mapping.null_words))
        try:
            typed = to_type(values, item.type, timestamp, is_rounded=entity.is_rounded)
        except TypeError as error:
            msg = (
                f"Read {input_uri}: column {source!r} has {error} for {item.name}. "
                "Map another column in the source configuration or restore the file's types."
            )
            raise PermanentSourceError(msg) from None
        arrays.append(typed.values)
        if typed.is_bad is not None:
            wanted = _WORDS[next(name for name, matches in _KINDS.items() if matches(item.type))]
            problems.append((typed.is_bad, "value_unparsable", f"{item.name}: {source!r} is not {wanted}"))
        if item.name in mapping.required and typed.values.null_count:
            missing = typed.values.is_null()
            if typed.is_bad is not None:
                missing = pc.and_(missing, pc.invert(typed.is_bad))
            problems.append((missing, "value_missing", f"{item.name}: {source!r} is empty, expected a value"))
    records = pa.RecordBatch.from_arrays(arrays, schema=entity.schema)
    rejects, keep = _reject_rows(raw, problems)
    record_index = pa.array(raw.record_index)
    if keep is not None:
        records, record_index = records.filter(keep), record_index.filter(keep)
    all_rejects = sorted([*raw.rejects, *rejects], key=lambda reject: reject.record_index)
    return Batch(entity.name, records, record_index, raw.rows + len(raw.rejects), tuple(all_rejects))


def mapped_batches(
    path: Path,
    input_uri: str,
    options: MappedOptions,
    mapping: ColumnMapping,
    check: Callable[[RawBatch], RawBatch] | None = None,
) -> Iterator[Batch]:
    """Read a file by a mapping; `check` may turn raw records into rejects before they are typed.

    A file of a source whose options name no format is JSON Lines: what a system that is asked was spooled to.
    """
    mapped = list(mapping.columns.values())
    if isinstance(options, TableOptions):
        raws = read_raw(path, input_uri, options, mapped, with_others=options.keep_unmapped)
    else:
        raws = read_json_lines(path, input_uri, mapped, with_others=options.keep_unmapped)
    if options.keep_unmapped:
        mapping = replace(mapping, columns={**mapping.columns, "attributes_json": _OTHERS})
    for raw in raws:
        if options.keep_unmapped:
            others = [name for name in raw.columns if name not in set(mapped)]
            raw.columns[_OTHERS] = attributes_json(raw, others, mapping.null_words)
        yield typed_batch(check(raw) if check else raw, options.entity, mapping, options.timestamp, input_uri)


# No column of a file can have this name: it is not text that a header could hold.
_OTHERS = "\x00others"


def attributes_json(raw: RawBatch, names: Sequence[str], null_words: tuple[str, ...] = ()) -> pa.Array:
    """Write some columns of every record as one JSON object, nulls left out; null when nothing is left."""
    if not names or not raw.rows:
        return pa.nulls(raw.rows, pa.string())
    lists = [raw.columns[name].to_pylist() for name in names]
    dropped = {None, *null_words, *([""] if null_words else [])}
    texts: list[str | None] = []
    for values in zip(*lists, strict=True):
        content = {
            name: value
            for name, value in zip(names, values, strict=True)
            if not (value is None or (isinstance(value, str) and value in dropped))
        }
        texts.append(text_of(content) if content else None)
    return pa.array(texts, pa.string())


def reject_where(raw: RawBatch, is_bad: pa.Array, code: str, reason: str) -> RawBatch:
    """Turn the records at which `is_bad` is true into rejects."""
    bad = [int(row) for row in true_positions(is_bad)]
    if not bad:
        return raw
    texts = raw.raw_text(bad)
    rejects = [Reject.of(int(raw.record_index[row]), code, reason, text) for row, text in zip(bad, texts, strict=True)]
    good = true_positions(pc.invert(is_bad))
    taken = pa.array(good, pa.int64())
    return RawBatch(
        {name: values.take(taken) for name, values in raw.columns.items()},
        raw.record_index[good],
        lambda rows: raw.raw_text([int(good[row]) for row in rows]),
        [*raw.rejects, *rejects],
    )


# ---- rejects

_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    "integer": pa.types.is_integer,
    "double": pa.types.is_floating,
    "decimal": pa.types.is_decimal,
    "boolean": pa.types.is_boolean,
    "date": pa.types.is_date,
    "timestamp": pa.types.is_timestamp,
}
_WORDS = {
    "integer": "a whole number",
    "double": "a number",
    "decimal": "a decimal number that can be held exactly",
    "boolean": "true or false",
    "date": "a date YYYY-MM-DD",
    "timestamp": "an instant between 1970 and 2200 in the configured format",
}


def _reject_rows(raw: RawBatch, problems: list[tuple[pa.Array, str, str]]) -> tuple[list[Reject], pa.Array | None]:
    if not problems:
        return [], None
    found: dict[int, list[tuple[str, str]]] = {}
    for mask, code, reason in problems:
        for row in true_positions(mask):
            found.setdefault(int(row), []).append((code, reason))
    rows = sorted(found)
    texts = raw.raw_text(rows)
    rejects = [
        Reject.of(int(raw.record_index[row]), found[row][0][0], "; ".join(why for _, why in found[row]), text)
        for row, text in zip(rows, texts, strict=True)
    ]
    keep = np.ones(raw.rows, dtype=bool)
    keep[rows] = False
    return rejects, pa.array(keep)


def _rows_as_json(columns: Mapping[str, pa.Array], rows: Sequence[int]) -> list[str]:
    taken = {name: values.take(pa.array(rows, pa.int64())).to_pylist() for name, values in columns.items()}
    return [
        readable({name: values[position] for name, values in taken.items()}).decode() for position in range(len(rows))
    ]


# ---- Parquet


def _open_parquet(path: Path, input_uri: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        detail = str(error).splitlines()[0]
        msg = (
            f"Opened {input_uri} as Parquet ({path.stat().st_size:,} bytes): {detail} "
            "Expected a whole Parquet file; deliver it again or correct `format`."
        )
        raise PermanentSourceError(msg) from error


def _read_parquet(path: Path, input_uri: str, _: TableOptions, wanted: _Wanted) -> Iterator[RawBatch]:
    file = _open_parquet(path, input_uri)
    names = wanted.of(file.schema_arrow.names, input_uri)
    start = 0
    for group in range(file.num_row_groups):
        whole = _WholeRows(file, group)
        for number, batch in enumerate(file.iter_batches(batch_size=BATCH_ROWS, row_groups=[group], columns=names)):
            yield RawBatch(
                {name: batch.column(name) for name in names},
                np.arange(start, start + batch.num_rows, dtype=np.int64),
                whole.of(number),
            )
            start += batch.num_rows


class _WholeRows:
    """Reads all columns of a row group's batches again, only when a record of one is rejected."""

    def __init__(self, file: pq.ParquetFile, group: int) -> None:
        self._file = file
        self._group = group
        self._next = 0
        self._batches: Iterator[pa.RecordBatch] | None = None

    def of(self, number: int) -> Callable[[Sequence[int]], list[str]]:
        def raw_text(rows: Sequence[int]) -> list[str]:
            batch = self._batch(number)
            return _rows_as_json(dict(zip(batch.schema.names, batch.columns, strict=True)), rows)

        return raw_text

    def _batch(self, number: int) -> pa.RecordBatch:
        if self._batches is None or number < self._next:
            self._batches = self._file.iter_batches(batch_size=BATCH_ROWS, row_groups=[self._group])
            self._next = 0
        while True:
            batch = next(self._batches)
            self._next += 1
            if self._next > number:
                return batch


# ---- CSV


def _csv_header(path: Path, input_uri: str, options: TableOptions) -> list[str]:
    refuse_utf16(first_bytes(path), input_uri)
    with open_bytes(path, input_uri) as stream:
        head = stream.read(_HEADER_LIMIT_BYTES).removeprefix(UTF8_MARK)
    text = head.decode(options.encoding, "ignore" if len(head) == _HEADER_LIMIT_BYTES else "strict")
    header = next(csv.reader(io.StringIO(text, newline=""), delimiter=options.delimiter), None)
    if not header:
        msg = f"Opened {input_uri} as CSV: it is empty, expected a header line. Deliver the file again."
        raise PermanentSourceError(msg)
    return header


def _read_csv(path: Path, input_uri: str, options: TableOptions, wanted: _Wanted) -> Iterator[RawBatch]:
    header = _csv_header(path, input_uri, options)
    names = wanted.of(header, input_uri)
    skipped: list[tuple[int, str, int, int]] = []

    def on_ragged(row: pa_csv.InvalidRow) -> str:
        skipped.append((row.number, row.text or "", row.actual_columns, row.expected_columns))
        return "skip"

    source = pa.input_stream(str(path), compression=compression_of(path, input_uri))
    reader = pa_csv.open_csv(
        source,
        read_options=pa_csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK_BYTES, encoding=options.encoding),
        parse_options=pa_csv.ParseOptions(
            delimiter=options.delimiter, newlines_in_values=True, invalid_row_handler=on_ragged
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )
    with reader:
        yield from _csv_batches(reader, header, names, skipped)


def _csv_batches(
    reader: pa_csv.CSVStreamingReader,
    header: list[str],
    names: list[str],
    skipped: list[tuple[int, str, int, int]],
) -> Iterator[RawBatch]:
    """Give the batches with the positions that their records have among all rows, ragged ones counted."""
    read = 0
    reported = 0
    for batch in reader:
        columns = {name: batch.column(header.index(name)) for name in names}
        everything = dict(zip(header, batch.columns, strict=True))
        ragged = [number - _FIRST_CSV_ROW for number, *_ in skipped]
        positions = _positions(read, batch.num_rows, ragged)
        last = int(positions[-1]) if batch.num_rows else -1
        due = sum(position < last for position in ragged)
        yield RawBatch(
            columns,
            positions,
            partial(_rows_as_json, everything),
            [_ragged(item) for item in skipped[reported:due]],
        )
        read += batch.num_rows
        reported = max(reported, due)
    if skipped[reported:]:
        nothing = {name: pa.nulls(0, pa.string()) for name in names}
        rejects = [_ragged(item) for item in skipped[reported:]]
        yield RawBatch(nothing, np.empty(0, np.int64), lambda _: [], rejects)


# The header is row 1 for Arrow's CSV reader.
_FIRST_CSV_ROW = 2


def _positions(read: int, rows: int, ragged: list[int]) -> np.ndarray:
    """Number `rows` good rows after `read` good ones, stepping over the ragged rows' positions."""
    good = np.arange(read, read + rows, dtype=np.int64)
    good_before = np.array(ragged, dtype=np.int64) - np.arange(len(ragged))
    return good + np.searchsorted(good_before, good, side="right")


def _ragged(item: tuple[int, str, int, int]) -> Reject:
    number, text, actual, expected = item
    reason = f"the row has {actual} fields, the header has {expected}"
    return Reject.of(number - _FIRST_CSV_ROW, "field_count_wrong", reason, text)


# ---- JSON Lines


def json_lines(path: Path, input_uri: str) -> Iterator[tuple[bytes, bool]]:
    """Give the lines of a JSON Lines file, and whether each is whole; one that is longer than allowed comes cut."""
    return text_lines(path, input_uri, limit_bytes=_JSONL_LINE_LIMIT_BYTES)


def read_json_lines(
    path: Path,
    input_uri: str,
    wanted: Sequence[str],
    *,
    with_others: bool = False,
    shown: Callable[[bytes], bytes] = bytes,
) -> Iterator[RawBatch]:
    """Read a file of JSON objects, one per line, in batches; `a.b` is a member of a member.

    Args:
        path: The file.
        input_uri: Its name in messages.
        wanted: The members to read.
        with_others: Whether the objects' other members are read too.
        shown: Gives what is kept of a line that is no JSON object.
    """
    names = _Wanted(tuple(dict.fromkeys(wanted)), with_others)
    rows: list[dict[str, Any]] = []
    lines: list[bytes] = []
    indices: list[int] = []
    rejects: list[Reject] = []
    size = 0
    lines_read = json_lines(path, input_uri)
    for position, (line, is_whole) in enumerate(lines_read):
        record = json_object(line, is_whole=is_whole)
        if isinstance(record, tuple):
            rejects.append(Reject.of(position, *record, shown(line)))
        else:
            rows.append(record)
            lines.append(line)
            indices.append(position)
        size += len(line)
        if size >= _JSONL_BATCH_BYTES or len(rows) >= BATCH_ROWS:
            yield _jsonl_batch(rows, lines, indices, rejects, names)
            rows, lines, indices, rejects, size = [], [], [], [], 0
    if rows or rejects:
        yield _jsonl_batch(rows, lines, indices, rejects, names)


@dataclass(frozen=True)
class Unreadable:
    """A record that could not even be split into members: why not, and what it looked like."""

    reason_code: str
    reason: str
    raw: bytes


def raw_records(records: Iterable[Mapping[str, Any] | Unreadable], wanted: Sequence[str]) -> Iterator[RawBatch]:
    """Batch records that are JSON objects already; `a.b` is a member of a member."""
    names = _Wanted(tuple(dict.fromkeys(wanted)), with_others=False)
    rows: list[dict[str, Any]] = []
    lines: list[bytes] = []
    indices: list[int] = []
    rejects: list[Reject] = []
    size = 0
    for position, record in enumerate(records):
        if isinstance(record, Unreadable):
            rejects.append(Reject.of(position, record.reason_code, record.reason, record.raw))
            size += len(record.raw)
        else:
            rows.append(dict(record))
            lines.append(readable(record))
            indices.append(position)
            size += len(lines[-1])
        if size >= _JSONL_BATCH_BYTES or len(rows) >= BATCH_ROWS:
            yield _jsonl_batch(rows, lines, indices, rejects, names)
            rows, lines, indices, rejects, size = [], [], [], [], 0
    if rows or rejects:
        yield _jsonl_batch(rows, lines, indices, rejects, names)


def _jsonl_batch(
    rows: list[dict[str, Any]],
    lines: list[bytes],
    indices: list[int],
    rejects: list[Reject],
    wanted: _Wanted,
) -> RawBatch:
    names = wanted.chosen(name for row in rows for name in row)
    columns = {name: from_python([_member(row, name) for row in rows]) for name in names}
    return RawBatch(
        columns,
        np.array(indices, np.int64),
        lambda chosen: [lines[row].decode("utf-8", "backslashreplace") for row in chosen],
        rejects,
    )


def _member(row: dict[str, Any], name: str) -> object:
    """Give a member of an object; `usage.prompt_tokens` looks into `usage` when there is no such name."""
    if name in row or "." not in name:
        return row.get(name)
    value: object = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def json_object(line: bytes, *, is_whole: bool) -> dict[str, Any] | tuple[str, str]:
    """Parse one line as a JSON object; else give (reason_code, reason)."""
    if not is_whole:
        return "line_too_long", f"the line is longer than {_JSONL_LINE_LIMIT_BYTES:,} bytes"
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as encoding_error:
            return "encoding_wrong", f"the line is not UTF-8: {encoding_error.reason}"
        return "json_broken", f"the line is not JSON: {error.msg} at character {error.pos}"
    if not isinstance(record, dict):
        return "json_not_an_object", f"the line is a JSON {type(record).__name__}, expected an object"
    return record
