"""Value equations: compile each row of `seed_value_equations.csv` to an exact, engine-neutral SQL expression.

An equation is arithmetic over the KPIs of its use case, constants, `instances` (1 per use-case instance) and
`cost_usd`; `usd` and `s` give a number its unit: `resolved * 6.00 * usd`. Names, units and dates are checked
before anything runs; whatever is not understood is refused with its line and the reason.

Here belong reading and checking the three value seeds and writing the expression. The pivot that makes the
`kpi_<name>` columns, and the choice of the version that holds on a date, are SQL models. Nothing here knows
Dagster or a database.

Arithmetic: a KPI column is decimal(18,6), a literal decimal(18,9), every result decimal(28,9), rounded half
away from zero at the ninth decimal, so that DuckDB and Spark agree. Numbers are multiplied before compiling;
only a quotient that nine decimals cannot hold is divided by the engine (in double), once, after all products.
"""

import ast
import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, TextIO, cast

from dagster_project.errors import ConfigurationError

EQUATIONS_FILE = "seed_value_equations.csv"
CONSTANTS_FILE = "seed_value_constants.csv"
KPIS_FILE = "seed_kpis.csv"

_READ_COLUMNS = {
    EQUATIONS_FILE: (
        "equation_id",
        "use_case_id",
        "result",
        "category",
        "basis",
        "provenance",
        "equation",
        "valid_from",
        "valid_to",
        "version",
    ),
    CONSTANTS_FILE: ("constant_name", "use_case_id", "value", "unit", "valid_from"),
    KPIS_FILE: ("kpi_name", "use_case_id", "unit"),
}
_CHOICES = {
    "result": ("money", "time"),
    "category": ("revenue", "cost_avoided", "time_saved", "risk"),
    "basis": ("realised", "expected"),
    "provenance": ("measured", "self_reported", "derived", "attested"),
}

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_CHARACTERS = re.compile(r"[A-Za-z0-9_.,()+*/ -]*")
_MAX_CHARACTERS = 500
_MAX_DEPTH = 50  # keeps a hostile or generated equation far from the interpreter's recursion limit

_DECIMALS = 9
_LITERAL_LIMIT = 10**9  # decimal(18,9) holds nine integer digits
_RESULT_LIMIT = 10**19  # decimal(28,9) holds nineteen
_KPI_TYPE = "decimal(18,6)"
_LITERAL_TYPE = "decimal(18,9)"
_RESULT_TYPE = "decimal(28,9)"


class Dimension(NamedTuple):
    """Exponents of the two units that matter; counts, shares and scores are dimensionless."""

    usd: int = 0
    s: int = 0

    def times(self, other: "Dimension", sign: int = 1) -> "Dimension":
        """Return the dimension of a product, or of a quotient when `sign` is -1."""
        return Dimension(self.usd + sign * other.usd, self.s + sign * other.s)

    def __str__(self) -> str:
        over = [name + (f"^{power}" if power > 1 else "") for name, power in self._asdict().items() if power > 0]
        under = [name + (f"^{-power}" if power < -1 else "") for name, power in self._asdict().items() if power < 0]
        if not over and not under:
            return "a plain number"
        return " * ".join(over or ["1"]) + "".join(f" / {name}" for name in under)


_PLAIN = Dimension()
_BASE_UNITS = {
    "count": _PLAIN,
    "score": _PLAIN,
    "share": _PLAIN,
    "usd": Dimension(usd=1),
    "s": Dimension(s=1),
}
_RESULT_DIMENSIONS = {"money": _BASE_UNITS["usd"], "time": _BASE_UNITS["s"]}


@dataclass(frozen=True, slots=True)
class CompiledEquation:
    """One version of one value equation, checked and ready to be used in a SQL model.

    Attributes:
        equation_id: Identity of the equation over all its versions.
        use_case_id: The use case whose instances it values.
        result: `money` (the SQL gives USD) or `time` (the SQL gives seconds).
        category: revenue, cost_avoided, time_saved or risk.
        basis: realised or expected.
        provenance: measured, self_reported, derived or attested.
        valid_from: First date of validity (inclusive).
        valid_to: End of validity (exclusive); None while it holds.
        version: The version as written in the seed.
        equation: The text as written in the seed.
        sql: Expression of type decimal(28,9) over `kpi_<name>` decimal(18,6), `cost_usd` and `started_date`.
            It is null when a KPI that it needs is null: unknown is not zero.
        kpi_names: The KPIs that the expression reads, sorted.
    """

    equation_id: str
    use_case_id: str
    result: Literal["money", "time"]
    category: str
    basis: str
    provenance: str
    valid_from: date
    valid_to: date | None
    version: str
    equation: str
    sql: str
    kpi_names: tuple[str, ...]

    def as_dbt_var(self) -> dict[str, str | list[str] | None]:
        """Return the equation as plain JSON-able values; dates are ISO text, an open end is None."""
        return {
            "equation_id": self.equation_id,
            "use_case_id": self.use_case_id,
            "result": self.result,
            "category": self.category,
            "basis": self.basis,
            "provenance": self.provenance,
            "valid_from": self.valid_from.isoformat(),
            "valid_to": None if self.valid_to is None else self.valid_to.isoformat(),
            "version": self.version,
            "equation": self.equation,
            "sql": self.sql,
            "kpi_names": list(self.kpi_names),
        }


def compile_equations(reference_dir: Path) -> list[CompiledEquation]:
    """Read the three value seeds of a directory and compile every equation.

    A constant of the use case takes the place of a global constant of the same name. A constant's value holds
    from its `valid_from` until the next value of that constant; an equation that outlives a value compiles to
    a `case` over `started_date`.

    Args:
        reference_dir: Directory with seed_value_equations.csv, seed_value_constants.csv and seed_kpis.csv.

    Returns:
        One compiled equation per row, ordered by equation and start of validity.

    Raises:
        ConfigurationError: A file is missing or malformed, or an equation has an unknown name, a wrong unit,
            anything but arithmetic, or dates that contradict each other; the message names file and line.
    """
    kpis = _load_kpis(reference_dir / KPIS_FILE)
    constants = _load_constants(reference_dir / CONSTANTS_FILE, kpis)
    equations = [_load_equation(row) for row in _read_rows(reference_dir / EQUATIONS_FILE)]
    equations.sort(key=lambda equation: (equation.equation_id, equation.valid_from))
    _check_versions(equations)
    return [_compile(equation, kpis, constants) for equation in equations]


@dataclass(frozen=True, slots=True)
class _Row:
    """One CSV row with the line on which it starts."""

    path: Path
    line: int
    values: Mapping[str, str]
    subject: str = ""

    def __getitem__(self, column: str) -> str:
        return self.values[column]

    def refuse(self, reason: str, next_step: str) -> ConfigurationError:
        """Build the error that refuses this row."""
        subject = f" {self.subject}:" if self.subject else ""
        return ConfigurationError(f"{self.path}, line {self.line}:{subject} {reason} Next step: {next_step}")


@dataclass(frozen=True, slots=True)
class _ConstantValue:
    row: _Row
    valid_from: date
    value: Fraction
    unit: Dimension


@dataclass(frozen=True, slots=True)
class _Equation:
    row: _Row
    equation_id: str
    valid_from: date
    valid_to: date | None


@dataclass(frozen=True, slots=True)
class _Value:
    """A subexpression: a number known now (`constant`), or SQL over columns with its type."""

    dimension: Dimension
    constant: Fraction | None = None
    sql: str = ""
    sql_type: str = _RESULT_TYPE


_Names = Mapping[str, _Value]


def _read_rows(path: Path) -> list[_Row]:
    """Read a seed; an unreadable or misshapen file is refused."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_rows(path, file))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{path}: tried to read the value seeds, but the file does not exist. "
            "Next step: create it with its header row, or point `reference_dir` to the directory that has it."
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(
            f"{path}: expected a UTF-8 CSV file, observed: {error}. Next step: save it as UTF-8 CSV."
        ) from error


def _rows(path: Path, file: TextIO) -> Iterator[_Row]:
    reader = csv.reader(file, strict=True)
    header = next(reader, [])
    missing = [column for column in _READ_COLUMNS[path.name] if column not in header]
    if missing:
        raise _Row(path, 1, {}).refuse(
            f"the columns {', '.join(missing)} are missing; observed: {', '.join(header) or 'none'}.",
            "give the file a header row with those columns.",
        )
    # A quoted field may span lines: a row starts one line after the row before it ended.
    start = reader.line_num + 1
    for fields in reader:
        line, start = start, reader.line_num + 1
        if not fields:
            continue
        row = _Row(path, line, dict(zip(header, (field.strip() for field in fields), strict=False)))
        if len(fields) != len(header):
            raise row.refuse(
                f"the row has {len(fields)} fields, the header has {len(header)}.",
                "quote each field that contains a comma.",
            )
        yield row


def _parse_date(row: _Row, column: str) -> date:
    if not _DATE.fullmatch(row[column]):
        raise row.refuse(f"{column} is {row[column]!r}, expected YYYY-MM-DD.", "write the date as YYYY-MM-DD.")
    try:
        return date.fromisoformat(row[column])
    except ValueError as error:
        raise row.refuse(f"{column} is {row[column]!r}: {error}.", "write a day that exists.") from error


def _parse_unit(row: _Row) -> Dimension:
    """Read `<unit>` or `<unit>_per_<unit>`."""
    over, per, under = row["unit"].partition("_per_")
    if over not in _BASE_UNITS or (per and under not in _BASE_UNITS):
        raise row.refuse(
            f"the unit {row['unit']!r} is unknown; known units: {', '.join(sorted(_BASE_UNITS))}, "
            "and <unit>_per_<unit>.",
            "convert the value to one of those units, for example an hourly wage to usd_per_s.",
        )
    return _BASE_UNITS[over].times(_BASE_UNITS[under], -1) if per else _BASE_UNITS[over]


def _check_name(row: _Row, column: str, taken: Iterable[str]) -> str:
    name = row[column]
    if not _IDENTIFIER.fullmatch(name):
        raise row.refuse(
            f"{column} is {name!r}; a name that equations use is lower-case letters, digits and `_`.",
            "rename it.",
        )
    if name in _SYSTEM_NAMES or name in taken:
        raise row.refuse(
            f"{column} {name!r} already means something else; taken: {_listed({*_SYSTEM_NAMES, *taken})}.",
            "choose another name and use it in the equations.",
        )
    return name


def _load_kpis(path: Path) -> dict[str, dict[str, Dimension]]:
    """Return the unit of each KPI by use case and name."""
    kpis: dict[str, dict[str, Dimension]] = defaultdict(dict)
    for row in _read_rows(path):
        of_use_case = kpis[row["use_case_id"]]
        name = _check_name(row, "kpi_name", of_use_case)
        if row["unit"] not in _BASE_UNITS:
            raise row.refuse(
                f"KPI {name} has the unit {row['unit']!r}; known: {', '.join(sorted(_BASE_UNITS))}.",
                "state the unit in which the scores arrive.",
            )
        of_use_case[name] = _BASE_UNITS[row["unit"]]
    return kpis


def _load_constants(
    path: Path, kpis: Mapping[str, Mapping[str, Dimension]]
) -> dict[str, dict[str, list[_ConstantValue]]]:
    """Return the dated values of each constant by use case (empty: global) and name, oldest first."""
    constants: dict[str, dict[str, list[_ConstantValue]]] = defaultdict(lambda: defaultdict(list))
    for row in _read_rows(path):
        scopes = kpis.values() if not row["use_case_id"] else [kpis.get(row["use_case_id"], {})]
        name = _check_name(row, "constant_name", {kpi for scope in scopes for kpi in scope})
        value = _ConstantValue(row, _parse_date(row, "valid_from"), _parse_value(row), _parse_unit(row))
        values = constants[row["use_case_id"]][name]
        if values and values[0].unit != value.unit:
            raise row.refuse(
                f"the unit is {row['unit']}, on line {values[0].row.line} it is {values[0].row['unit']}.",
                "convert the value, or name it differently.",
            )
        same_day = [other for other in values if other.valid_from == value.valid_from]
        if same_day:
            raise row.refuse(
                f"{name} has two values from {value.valid_from}, the other on line {same_day[0].row.line}.",
                "delete one, or correct its valid_from.",
            )
        values.append(value)
        values.sort(key=lambda dated: dated.valid_from)
    return constants


def _parse_value(row: _Row) -> Fraction:
    text = row["value"]
    if not _NUMBER.fullmatch(text.removeprefix("-")) or not _is_exact(Fraction(text)):
        raise row.refuse(
            f"value is {text!r}, expected a number that fits {_LITERAL_TYPE}.",
            "write plain digits, at most nine on each side of the point, or use another unit.",
        )
    return Fraction(text)


def _load_equation(row: _Row) -> _Equation:
    """Check everything about an equation that needs no other row."""
    row = replace(row, subject=f"equation {row['equation_id']!r}")
    if not row["equation_id"] or not row["use_case_id"] or not row["version"]:
        raise row.refuse("equation_id, use_case_id and version must not be empty.", "fill them in.")
    for column, choices in _CHOICES.items():
        if row[column] not in choices:
            raise row.refuse(f"{column} is {row[column]!r}; known: {', '.join(choices)}.", "use one of those.")
    valid_from = _parse_date(row, "valid_from")
    valid_to = _parse_date(row, "valid_to") if row["valid_to"] else None
    if valid_to is not None and valid_to <= valid_from:
        raise row.refuse(
            f"valid_to {valid_to} is not after valid_from {valid_from}; the end is exclusive.",
            "correct the dates, or leave valid_to empty while the equation holds.",
        )
    return _Equation(row, row["equation_id"], valid_from, valid_to)


def _check_versions(equations: Iterable[_Equation]) -> None:
    """Refuse versions of one equation that overlap, share a number or change what is valued."""
    versions: dict[str, list[_Equation]] = defaultdict(list)
    for equation in equations:
        versions[equation.equation_id].append(equation)
    for group in versions.values():
        seen: dict[str, int] = {}
        for equation in group:
            row = equation.row
            if row["version"] in seen:
                raise row.refuse(
                    f"version {row['version']} is also on line {seen[row['version']]}.",
                    "number each version once.",
                )
            seen[row["version"]] = row.line
        for before, after in pairwise(group):
            if before.valid_to is None or before.valid_to > after.valid_from:
                raise after.row.refuse(
                    f"version {after.row['version']} begins {after.valid_from}, but the version on line "
                    f"{before.row.line} holds to {before.valid_to or 'no end'}.",
                    f"end version {before.row['version']} on or before {after.valid_from}.",
                )
            for column in ("use_case_id", "result"):
                if before.row[column] != after.row[column]:
                    raise after.row.refuse(
                        f"{column} {after.row[column]!r}, on line {before.row.line} {before.row[column]!r}.",
                        "give an equation that values something else its own equation_id.",
                    )


_SYSTEM_NAMES: _Names = {
    "usd": _Value(Dimension(usd=1), constant=Fraction(1)),
    "s": _Value(Dimension(s=1), constant=Fraction(1)),
    "instances": _Value(_PLAIN, constant=Fraction(1)),
    "cost_usd": _Value(Dimension(usd=1), sql=f"cast(cost_usd as {_RESULT_TYPE})"),
}


def _compile(
    equation: _Equation,
    kpis: Mapping[str, Mapping[str, Dimension]],
    constants: Mapping[str, Mapping[str, Sequence[_ConstantValue]]],
) -> CompiledEquation:
    row = equation.row
    use_case_id = row["use_case_id"]
    of_use_case = kpis.get(use_case_id, {})
    dated = {**constants.get("", {}), **constants.get(use_case_id, {})}
    compiler = _Compiler(equation, of_use_case, dated)
    sql = compiler.compile()
    return CompiledEquation(
        equation_id=equation.equation_id,
        use_case_id=use_case_id,
        result=cast("Literal['money', 'time']", row["result"]),
        category=row["category"],
        basis=row["basis"],
        provenance=row["provenance"],
        valid_from=equation.valid_from,
        valid_to=equation.valid_to,
        version=row["version"],
        equation=row["equation"],
        sql=sql,
        kpi_names=tuple(sorted(compiler.used_kpis)),
    )


class _Compiler:
    """Turns the text of one equation into SQL, or refuses it."""

    def __init__(
        self,
        equation: _Equation,
        kpis: Mapping[str, Dimension],
        constants: Mapping[str, Sequence[_ConstantValue]],
    ) -> None:
        self._equation = equation
        self._text = equation.row["equation"]
        self._kpis = kpis
        self._constants = constants
        self.used_kpis: set[str] = set()

    def compile(self) -> str:
        """Return the SQL of the whole equation, a decimal(28,9) in USD or in seconds."""
        value = self._value(self._parse())
        expected = _RESULT_DIMENSIONS[self._equation.row["result"]]
        if value.dimension != expected:
            raise self._refuse(
                f"the result is {value.dimension}, expected {expected} for {self._equation.row['result']}.",
                f"multiply by a constant of the missing unit, or by `{expected}`.",
            )
        return _as_type(value, _RESULT_TYPE)

    def _refuse(self, reason: str, next_step: str) -> ConfigurationError:
        return self._equation.row.refuse(f"in `{self._text}`: {reason}", next_step)

    def _parse(self) -> ast.expr:
        """Parse and let through only the white-listed shapes."""
        grammar = "use only + - * / ( ) numbers, min(a, b), max(a, b) and names."
        if not self._text or len(self._text) > _MAX_CHARACTERS:
            raise self._refuse(
                f"the equation has {len(self._text)} characters, expected 1 to {_MAX_CHARACTERS}.",
                "rewrite it.",
            )
        if not _CHARACTERS.fullmatch(self._text):
            strange = sorted(set(_CHARACTERS.sub("", self._text)))
            raise self._refuse(f"the characters {' '.join(strange)!r} are not arithmetic.", grammar)
        try:
            tree = ast.parse(self._text, mode="eval").body
        except (SyntaxError, MemoryError, RecursionError) as error:
            raise self._refuse(f"this is not an arithmetic expression ({error}).", grammar) from error
        pending: list[tuple[ast.expr, int]] = [(tree, 1)]
        while pending:
            node, depth = pending.pop()
            if depth > _MAX_DEPTH:
                raise self._refuse(
                    f"the equation nests more than {_MAX_DEPTH} operations.", "write it as several equations."
                )
            parts = _parts(node)
            if parts is None:
                raise self._refuse(f"`{self._source(node)}` is not arithmetic that equations may use.", grammar)
            pending.extend((part, depth + 1) for part in parts)
        return tree

    def _source(self, node: ast.expr) -> str:
        return ast.get_source_segment(self._text, node) or self._text

    def _value(self, node: ast.expr) -> _Value:
        value = self._unlimited_value(node)
        if value.constant is not None and abs(value.constant) >= _RESULT_LIMIT:
            raise self._refuse(f"`{self._source(node)}` does not fit {_RESULT_TYPE}.", "use smaller numbers.")
        return value

    def _unlimited_value(self, node: ast.expr) -> _Value:
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name():
                return self._name(node.id)
            case ast.UnaryOp():
                return _negate(self._value(node.operand))
            case ast.Call():
                return self._extreme(node)
            case ast.BinOp(op=ast.Mult() | ast.Div()):
                return self._product(node)
        return self._sum(cast("ast.BinOp", node))

    def _number(self, node: ast.Constant) -> _Value:
        # The text is read, not the parsed float, so that 0.1 stays one tenth.
        text = self._source(node)
        if not _NUMBER.fullmatch(text) or not _is_exact(Fraction(text)):
            raise self._refuse(
                f"the number {text} does not fit {_LITERAL_TYPE}.",
                "write it as plain digits, at most nine on each side of the point.",
            )
        return _Value(_PLAIN, constant=Fraction(text))

    def _name(self, name: str) -> _Value:
        if name in _SYSTEM_NAMES:
            return _SYSTEM_NAMES[name]
        if name in self._kpis:
            self.used_kpis.add(name)
            return _Value(self._kpis[name], sql=f"kpi_{name}", sql_type=_KPI_TYPE)
        if name in self._constants:
            return self._constant(name)
        raise self._refuse(
            f"the name `{name}` is unknown in use case {self._equation.row['use_case_id']}. "
            f"KPIs: {_listed(self._kpis)}; constants: {_listed(self._constants)}; "
            f"system names: {_listed(_SYSTEM_NAMES)}.",
            f"correct the name, or add it to {KPIS_FILE} or {CONSTANTS_FILE}.",
        )

    def _constant(self, name: str) -> _Value:
        """Return the value that holds while the equation does, or a `case` over its values."""
        start, end = self._equation.valid_from, self._equation.valid_to
        values = [dated for dated in self._constants[name] if end is None or dated.valid_from < end]
        first = max((i for i, dated in enumerate(values) if dated.valid_from <= start), default=None)
        if first is None:
            earliest = self._constants[name][0].valid_from
            raise self._refuse(
                f"the constant `{name}` has its first value from {earliest}, the equation begins {start}.",
                f"add the value of {start} to {CONSTANTS_FILE}, or begin the equation on {earliest}.",
            )
        initial, *later = values[first:]
        if not later:
            return _Value(initial.unit, constant=initial.value)
        branches = " ".join(
            f"when started_date >= date '{dated.valid_from}' then {_literal(dated.value, _LITERAL_TYPE)}"
            for dated in reversed(later)
        )
        sql = f"case {branches} else {_literal(initial.value, _LITERAL_TYPE)} end"
        return _Value(initial.unit, sql=sql, sql_type=_LITERAL_TYPE)

    def _extreme(self, node: ast.Call) -> _Value:
        name = cast("ast.Name", node.func).id
        left, right = (self._value(argument) for argument in node.args)
        self._check_same_unit(left, right, self._source(node))
        if left.constant is not None and right.constant is not None:
            return _Value(left.dimension, constant={"min": min, "max": max}[name](left.constant, right.constant))
        function = {"min": "least", "max": "greatest"}[name]
        sides = [_as_type(left, _RESULT_TYPE), _as_type(right, _RESULT_TYPE)]
        # least and greatest skip nulls on most engines, which would make a missing KPI look known.
        known = " and ".join(
            f"{sql} is not null" for side, sql in zip((left, right), sides, strict=True) if side.constant is None
        )
        return _Value(
            left.dimension,
            sql=f"case when {known} then {function}({sides[0]}, {sides[1]}) end",
        )

    def _sum(self, node: ast.BinOp) -> _Value:
        left, right = self._value(node.left), self._value(node.right)
        self._check_same_unit(left, right, self._source(node))
        if left.constant is not None and right.constant is not None:
            sign = 1 if isinstance(node.op, ast.Add) else -1
            return _Value(left.dimension, constant=left.constant + sign * right.constant)
        operator = "+" if isinstance(node.op, ast.Add) else "-"
        sql = f"{_as_type(left, _RESULT_TYPE)} {operator} {_as_type(right, _RESULT_TYPE)}"
        return _Value(left.dimension, sql=f"cast({sql} as {_RESULT_TYPE})")

    def _check_same_unit(self, left: _Value, right: _Value, source: str) -> None:
        if left.dimension != right.dimension:
            raise self._refuse(
                f"`{source}` combines {left.dimension} with {right.dimension}; both sides need one unit.",
                "bring both to the same unit; a bare number gets its unit as in `5 * usd`.",
            )

    def _product(self, node: ast.BinOp) -> _Value:
        """Compile a whole chain of * and / at once: numbers are folded, and one division comes last."""
        factors, divisors = self._chain(node)
        dimension = _PLAIN
        for value in factors:
            dimension = dimension.times(value.dimension)
        for value in divisors:
            dimension = dimension.times(value.dimension, -1)
        coefficient = _folded(factors) / _folded(divisors)
        columns = [value for value in factors if value.constant is None]
        column_divisors = [value for value in divisors if value.constant is None]
        if not columns and not column_divisors:
            return _Value(dimension, constant=coefficient)
        numerator, denominator = coefficient, Fraction(1)
        if not _is_exact(coefficient):
            numerator, denominator = Fraction(coefficient.numerator), Fraction(coefficient.denominator)
        if not (_is_exact(numerator) and _is_exact(denominator)):
            raise self._refuse(
                f"the numbers of `{self._source(node)}` multiply to {float(coefficient):g}, "
                f"which does not fit {_LITERAL_TYPE}.",
                "use numbers with fewer digits, or another unit.",
            )
        product = _multiplied(columns, numerator)
        if not column_divisors and denominator == 1:
            return _Value(dimension, sql=product)
        if column_divisors:
            divisor = f"nullif({_multiplied(column_divisors, denominator)}, 0)"
        else:
            divisor = _literal(denominator, _RESULT_TYPE)
        sql = f"cast(cast({product} as double) / cast({divisor} as double) as {_RESULT_TYPE})"
        return _Value(dimension, sql=sql)

    def _chain(self, node: ast.expr) -> tuple[list[_Value], list[_Value]]:
        """Return the factors and the divisors of a chain."""
        match node:
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                left_factors, left_divisors = self._chain(left)
                right_factors, right_divisors = self._chain(right)
                return left_factors + right_factors, left_divisors + right_divisors
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                # The divisor stays whole: a / (b / c) flattened to a * c / b would turn c = 0 into a known 0.
                factors, divisors = self._chain(left)
                divisor = self._value(right)
                if divisor.constant == 0:
                    raise self._refuse(f"`{self._source(node)}` divides by zero.", "correct the divisor.")
                return factors, [*divisors, divisor]
        return [self._value(node)], []


def _parts(node: ast.expr) -> list[ast.expr] | None:
    """Return the operands of a white-listed node; None when the node is not in the grammar."""
    match node:
        case ast.Constant(value=int() | float()) | ast.Name():
            return []
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return [operand]
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
            return [left, right]
        case ast.Call(func=ast.Name(id="min" | "max"), args=[left, right], keywords=[]):
            return [left, right]
    return None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _folded(values: Iterable[_Value]) -> Fraction:
    """Multiply the numbers among the values."""
    product = Fraction(1)
    for value in values:
        if value.constant is not None:
            product *= value.constant
    return product


def _is_exact(number: Fraction) -> bool:
    """Tell whether a number is exactly a decimal(18,9)."""
    return abs(number) < _LITERAL_LIMIT and (number * 10**_DECIMALS).denominator == 1


def _literal(number: Fraction, sql_type: str) -> str:
    """Write a number as a decimal; one without an end is rounded half away from zero at the ninth decimal."""
    scaled = abs(number) * 10**_DECIMALS
    units = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    text = f"{units // 10**_DECIMALS}.{units % 10**_DECIMALS:09d}".rstrip("0").rstrip(".")
    sign = "-" if number < 0 else ""
    return f"cast('{sign}{text}' as {sql_type})"


def _as_type(value: _Value, sql_type: str) -> str:
    """Write a value in a type."""
    if value.constant is not None:
        return _literal(value.constant, sql_type)
    return value.sql if value.sql_type == sql_type else f"cast({value.sql} as {sql_type})"


def _multiplied(values: Sequence[_Value], coefficient: Fraction) -> str:
    """Multiply SQL values and a number; each step is rounded to a decimal(28,9).

    Every step is decimal(28,9) times decimal(18,9): DuckDB computes two operands of 18 digits in 64 bits and
    overflows early, and Spark drops decimals of products that are wider.
    """
    if not values:
        return _literal(coefficient, _RESULT_TYPE)
    # A subexpression goes first: only the first place holds a full decimal(28,9).
    first, *others = sorted(values, key=lambda value: value.sql_type != _RESULT_TYPE)
    factors = [_as_type(value, _LITERAL_TYPE) for value in others]
    if coefficient != 1:
        factors.append(_literal(coefficient, _LITERAL_TYPE))
    sql = _as_type(first, _RESULT_TYPE)
    for factor in factors:
        sql = f"cast({sql} * {factor} as {_RESULT_TYPE})"
    return sql


def _negate(value: _Value) -> _Value:
    if value.constant is not None:
        return _Value(value.dimension, constant=-value.constant)
    return replace(value, sql=f"(-{value.sql})")
