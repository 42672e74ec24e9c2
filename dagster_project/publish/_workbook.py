"""One Excel workbook with typed cells: a cover sheet and one sheet per table.

Turning rows into cells (which type, which format, which width) belongs here. Which tables, and what the cover
says, is `exports.py`. Text is always written as text, so that no cell ever runs as a formula.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

# Limits of the format: rows of a sheet, characters of a cell, and digits that a number keeps.
SHEET_ROW_COUNT = 1_048_576
CELL_CHARACTERS = 32_767
EXACT_INTEGER_MAX = 10**15

_NUMBER_FORMATS = (
    ("_usd", "#,##0.00####"),
    ("_share", "0.00%"),
    ("_tokens", "#,##0"),
    ("_count", "#,##0"),
    ("_units", "#,##0.######"),
)
_MIN_WIDTH = 10
_MAX_WIDTH = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One table to write; `rows` is read once."""

    name: str
    description: str
    columns: tuple[str, ...]
    row_count: int
    rows: Iterable[Sequence[object]]


def write(path: Path, sheets: Sequence[Sheet], *, cover: Sequence[tuple[str, str]], created_at: datetime) -> None:
    """Write the workbook.

    Rows go to disk as they are written, so memory does not grow with them. A sheet that has more rows than
    Excel can hold is cut, and the cover says so.

    Args:
        path: Where to.
        sheets: The tables, in order.
        cover: Label and text of the cover's lines.
        created_at: The workbook's creation instant; everything else in the file follows from the content.
    """
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(str(path), options) as book:
        book.set_properties({"created": created_at.astimezone(UTC).replace(tzinfo=None), "title": "tokenledger"})
        styles = _Styles(book)
        _write_cover(book.add_worksheet("about"), styles, sheets, cover)
        for sheet in sheets:
            _write_sheet(book.add_worksheet(sheet.name), styles, sheet)


class _Styles:
    """The workbook's cell formats, each made once."""

    def __init__(self, book: xlsxwriter.Workbook) -> None:
        self._book = book
        self._by_number_format: dict[str, Format] = {}
        self.header = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        self.label = book.add_format({"bold": True, "valign": "top"})
        self.wrapped = book.add_format({"text_wrap": True, "valign": "top"})
        self.day = self.number("yyyy-mm-dd")
        self.instant = self.number("yyyy-mm-dd hh:mm:ss")

    def number(self, number_format: str) -> Format:
        if number_format not in self._by_number_format:
            self._by_number_format[number_format] = self._book.add_format({"num_format": number_format})
        return self._by_number_format[number_format]

    def of_column(self, column: str) -> Format:
        for suffix, number_format in _NUMBER_FORMATS:
            if column.endswith(suffix):
                return self.number(number_format)
        return self.number("#,##0.00####" if "_usd_per_" in column else "General")


def _write_cover(
    cover_sheet: Worksheet, styles: _Styles, sheets: Sequence[Sheet], cover: Sequence[tuple[str, str]]
) -> None:
    cover_sheet.set_column(0, 0, 26)
    cover_sheet.set_column(1, 1, 14)
    cover_sheet.set_column(2, 2, 90)
    for row, (label, text) in enumerate(cover):
        cover_sheet.write_string(row, 0, label, styles.label)
        cover_sheet.write_string(row, 2, text, styles.wrapped)
    start = len(cover) + 1
    for column, title in enumerate(("Sheet", "Rows", "What it holds")):
        cover_sheet.write_string(start, column, title, styles.header)
    for row, sheet in enumerate(sheets, start=start + 1):
        cover_sheet.write_string(row, 0, sheet.name)
        cover_sheet.write_number(row, 1, sheet.row_count, styles.number("#,##0"))
        cut = (
            f" Excel holds {SHEET_ROW_COUNT - 1:,} rows; {sheet.row_count - SHEET_ROW_COUNT + 1:,} more are"
            " in the Parquet and CSV files."
            if sheet.row_count >= SHEET_ROW_COUNT
            else ""
        )
        cover_sheet.write_string(row, 2, f"{sheet.description}{cut}", styles.wrapped)


def _write_sheet(worksheet: Worksheet, styles: _Styles, sheet: Sheet) -> None:
    formats = [styles.of_column(column) for column in sheet.columns]
    # Widths precede the rows, which are streamed; a header's own length is what is known by then.
    for position, column in enumerate(sheet.columns):
        worksheet.set_column(position, position, min(max(len(column) + 3, _MIN_WIDTH), _MAX_WIDTH))
    worksheet.freeze_panes(1, 0)
    last_row = min(sheet.row_count, SHEET_ROW_COUNT - 1)
    worksheet.autofilter(0, 0, last_row, max(len(sheet.columns) - 1, 0))
    for position, column in enumerate(sheet.columns):
        worksheet.write_string(0, position, column, styles.header)
    for row_number, row in enumerate(sheet.rows, start=1):
        if row_number > last_row:
            break
        for position, value in enumerate(row):
            _write_cell(worksheet, (row_number, position), value, formats[position], styles)


def _write_cell(
    worksheet: Worksheet, cell: tuple[int, int], value: object, number_format: Format, styles: _Styles
) -> None:
    if value is None:
        return
    if isinstance(value, bool):
        worksheet.write_boolean(*cell, value)
    elif isinstance(value, datetime):
        naive = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        worksheet.write_datetime(*cell, naive, styles.instant)
    elif isinstance(value, date):
        worksheet.write_datetime(*cell, value, styles.day)
    elif _is_number(value):
        worksheet.write_number(*cell, value, number_format)
    else:
        worksheet.write_string(*cell, str(value)[:CELL_CHARACTERS])


def _is_number(value: object) -> bool:
    """Whether a value goes into a number cell; a long integer would lose digits there and goes in as text."""
    if isinstance(value, int):
        return abs(value) < EXACT_INTEGER_MAX
    return isinstance(value, Decimal | float) and math.isfinite(value)
