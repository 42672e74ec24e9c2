"""Great Expectations on DuckDB: suites as data in, gate results out.

The declaration of an expectation, the adapter that runs suites over one database, and the buffering DuckDB
driver that Great Expectations needs belong here. What is expected of which table is `raw.py` and
`serving.py`. Great Expectations takes seconds to import, so it is imported inside the functions that run it.

Connections: DuckDB refuses a second connection to a file with another configuration in one process, and any
while another process writes. `evaluate_suites` opens the file read-only when nobody in this process holds it,
and otherwise must be given the connection that does; either way the file is released as before when it
returns.
"""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from dagster_project.errors import ConfigurationError
from dagster_project.gates.gate import (
    SAMPLE_ROW_COUNT,
    Gate,
    GateResult,
    GateRun,
    Predicate,
    Severity,
    Stage,
    Verdict,
    result_of,
)

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.datasource.fluent.interfaces import Batch
    from great_expectations.expectations.expectation import Expectation
    from sqlalchemy import Engine

    from dagster_project.gates._buffered_duckdb import BufferedConnection

# Great Expectations reads at most 200 rows of an open-ended query, and only after its connection is closed;
# the driver keeps this many, so that a query for violations that matches everything does not fill the memory.
BUFFERED_ROW_COUNT = 10_000

_SEVERITIES = {"block": "critical", "warn": "warning"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationSpec:
    """One expectation, as data.

    Attributes:
        expectation: Class name in `great_expectations.expectations` (`ExpectColumnValuesToNotBeNull`).
        predicate: What must hold, from the gate vocabulary.
        rule: The statement in words.
        why: What goes wrong when it does not hold.
        aspect: The judged part of the subject; empty for the whole.
        kwargs: The class's own arguments. `mostly` is refused: tolerance is stated by `tolerance_share`.
        severity: `block` or `warn`.
        tolerance_share: Share (0..1) of violations that still passes.
    """

    expectation: str
    predicate: Predicate
    rule: str
    why: str
    aspect: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "block"
    tolerance_share: float = 0.0

    def __post_init__(self) -> None:
        if "mostly" in self.kwargs:
            raise ValueError(f"{self.expectation} on {self.aspect!r}: state tolerance_share, not mostly")

    def gate(self, stage: Stage, subject: str) -> Gate:
        """The gate that this expectation judges on a subject."""
        return Gate(
            stage=stage,
            subject=subject,
            aspect=self.aspect,
            predicate=self.predicate,
            rule=self.rule,
            why=self.why,
            tool="great_expectations",
            severity=self.severity,
            tolerance_share=self.tolerance_share,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Everything that is expected of one relation.

    Attributes:
        stage: The stage that the suite ends.
        subject: The relation's name in gate names.
        relation: `schema.table` of the table or view, or a select statement in parentheses.
        specs: The expectations; their gate names must differ.
        day_column: The UTC day by which the relation can be restricted to a window; None when it is undated.
        may_be_empty: Whether the relation may rightly have no row; then what it would be judged by holds without any.
    """

    stage: Stage
    subject: str
    relation: str
    specs: tuple[ExpectationSpec, ...]
    day_column: str | None = None
    may_be_empty: bool = False

    def __post_init__(self) -> None:
        names = [gate.gate_name for gate in self.gates]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"suite {self.subject}: gate names repeat: {', '.join(repeated)}")

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The gates of the suite, in the order of its expectations."""
        return tuple(spec.gate(self.stage, self.subject) for spec in self.specs)

    def over_window(self, start_date: date, end_date: date) -> "Suite":
        """The same suite over the days from start_date up to, not including, end_date; undated: unchanged."""
        if self.day_column is None:
            return self
        restricted = (
            f"(select * from {self.relation} where {self.day_column} >= date '{start_date.isoformat()}'"
            f" and {self.day_column} < date '{end_date.isoformat()}')"
        )
        return replace(self, relation=restricted)


def evaluate_suite(
    *,
    database_path: Path,
    relation_sql_or_table: str,
    specs: Sequence[ExpectationSpec],
    stage: Stage,
    subject: str,
    run: GateRun,
    connection: duckdb.DuckDBPyConnection | None = None,
) -> list[GateResult]:
    """Judge one relation; see `evaluate_suites`."""
    suite = Suite(stage=stage, subject=subject, relation=relation_sql_or_table, specs=tuple(specs))
    return evaluate_suites(database_path=database_path, suites=[suite], run=run, connection=connection)


def evaluate_suites(
    *,
    database_path: Path,
    suites: Sequence[Suite],
    run: GateRun,
    connection: duckdb.DuckDBPyConnection | None = None,
) -> list[GateResult]:
    """Judge relations of one DuckDB database with one Great Expectations context and one engine.

    What counts as judged: for a row-wise expectation every row of the relation (a rule about a nullable
    column says what its values are when there are any; that they are there is another rule); for a query for
    violations and for a table-wide figure also every row; for an expectation about columns, the columns that
    it names. Zero judged fails, and so does an expectation that could not be computed: its sample holds the
    message.

    Args:
        database_path: The DuckDB file; opened read-only and released before returning.
        suites: What to judge.
        run: The run that asks.
        connection: A connection to that file held by this process; then the file is not opened again, and the
            connection's own configuration and transactions are left alone.

    Returns:
        One result per expectation, in the order of the suites.

    Raises:
        ConfigurationError: The file does not exist, this process holds it in another configuration (pass
            `connection`), or another process writes to it.
    """
    results: list[GateResult] = []
    with _gx_batches(database_path, suites, connection) as batches:
        for suite, batch, engine in batches:
            results.extend(
                result_of(gate, verdict, run)
                for gate, verdict in zip(suite.gates, _suite_verdicts(suite, batch, engine), strict=True)
            )
    return results


@contextlib.contextmanager
def _gx_batches(
    database_path: Path, suites: Sequence[Suite], connection: duckdb.DuckDBPyConnection | None
) -> "Iterator[Iterator[tuple[Suite, Batch, Engine]]]":
    held = connection.cursor() if connection is not None else _open_read_only(database_path)
    with contextlib.closing(held):
        import great_expectations as gx  # noqa: PLC0415 - seconds to import, needed only here

        context = gx.get_context(mode="ephemeral")
        context.enable_analytics(enable=False)
        context.variables.progress_bars = {"globally": False}
        datasource = context.data_sources.add_sql(
            "database",
            connection_string=_register_buffered_dialect(),
            kwargs={"creator": lambda: _buffered_connection(held.cursor())},
        )

        def batches() -> "Iterator[tuple[Suite, Batch, Engine]]":
            for position, suite in enumerate(suites):
                asset = datasource.add_query_asset(
                    name=f"{position}_{suite.subject}", query=f"select * from {suite.relation}"
                )
                batch = asset.add_batch_definition_whole_table("all").get_batch()
                yield suite, batch, datasource.get_engine()

        try:
            with warnings.catch_warnings():
                # The driver warns that it cannot reflect indexes; there are none.
                warnings.filterwarnings("ignore", module="duckdb_engine")
                yield batches()
        finally:
            # Great Expectations makes two engines, and each keeps the file open until it is disposed of.
            datasource.get_engine().dispose()
            execution_engine = datasource.get_execution_engine()
            execution_engine.engine.dispose()
            execution_engine.close()


def _suite_verdicts(suite: Suite, batch: "Batch", engine: "Engine") -> list[Verdict]:
    # Counting first and sampling only what failed spares a second scan for every expectation that holds.
    everything = range(len(suite.specs))
    counted = _validate(suite, batch, everything, sample_row_count=0)
    row_count = _row_count(counted.pop(_ROW_COUNT_KEY))
    failed = [
        position
        for position in everything
        if not counted[position].success and "unexpected_count" in counted[position].result
    ]
    sampled = _validate(suite, batch, failed, sample_row_count=SAMPLE_ROW_COUNT) if failed else {}
    verdicts = [
        _verdict(suite, spec, sampled.get(position, counted[position]), row_count, engine)
        for position, spec in enumerate(suite.specs)
    ]
    if suite.may_be_empty and row_count == 0:
        # What was judged is the relation itself: that it is there and empty.
        return [
            Verdict(1, 0) if not verdict.evaluated_count and not verdict.sample else verdict for verdict in verdicts
        ]
    return verdicts


_ROW_COUNT_KEY = -1


def _validate(
    suite: Suite, batch: "Batch", positions: Sequence[int], *, sample_row_count: int
) -> "dict[int, ExpectationValidationResult]":
    import great_expectations as gx  # noqa: PLC0415

    expectations = [_expectation(suite.specs[position], meta={"position": position}) for position in positions]
    if sample_row_count == 0:
        expectations.append(
            gx.expectations.ExpectTableRowCountToBeBetween(min_value=0, meta={"position": _ROW_COUNT_KEY})
        )
    outcome = batch.validate(
        gx.ExpectationSuite(name=suite.subject, expectations=expectations),
        result_format={"result_format": "SUMMARY", "partial_unexpected_count": sample_row_count},
    )
    # Results come back in an order of the library's own.
    return {result.expectation_config.meta["position"]: result for result in outcome.results}


def _expectation(spec: ExpectationSpec, meta: Mapping[str, object]) -> "Expectation":
    import great_expectations as gx  # noqa: PLC0415

    kind = getattr(gx.expectations, spec.expectation, None)
    if kind is None:
        raise ConfigurationError(
            f"Built the suite's expectation {spec.expectation!r}; Great Expectations {gx.__version__} has no "
            "such class. Use a class name of great_expectations.expectations."
        )
    return kind(**spec.kwargs, severity=_SEVERITIES[spec.severity], meta=dict(meta))


def _row_count(result: "ExpectationValidationResult") -> int:
    return int(result.result.get("observed_value") or 0)


def _verdict(
    suite: Suite,
    spec: ExpectationSpec,
    result: "ExpectationValidationResult",
    row_count: int,
    engine: "Engine",
) -> Verdict:
    message = _exception_message(result.exception_info)
    if message is not None:
        return Verdict(0, 0, [{"error": message}])
    if "column_set" in spec.kwargs:
        return _column_verdict(spec.kwargs["column_set"], result)
    if spec.expectation == "UnexpectedRowsExpectation":
        return _query_verdict(suite, spec, result, row_count, engine)
    if "unexpected_count" in result.result:
        return _row_wise_verdict(suite, spec, result, engine)
    observed = {"observed_value": result.result.get("observed_value")}
    return Verdict(row_count, 0 if result.success else 1, () if result.success else [observed])


def _exception_message(exception_info: Mapping[str, Any]) -> str | None:
    # Either the flat form, or one such entry per metric that could not be computed.
    entries = [exception_info] if "raised_exception" in exception_info else list(exception_info.values())
    messages = [str(entry.get("exception_message")) for entry in entries if entry.get("raised_exception")]
    return "; ".join(messages) if messages else None


def _column_verdict(expected: Sequence[str], result: "ExpectationValidationResult") -> Verdict:
    observed = set(result.result["observed_value"])
    missing = [name for name in expected if name not in observed]
    return Verdict(len(expected), len(missing), [{"missing_column": name} for name in missing])


def _row_wise_verdict(
    suite: Suite, spec: ExpectationSpec, result: "ExpectationValidationResult", engine: "Engine"
) -> Verdict:
    # Both counts are null on an empty relation.
    judged, unexpected = (int(result.result[key] or 0) for key in ("element_count", "unexpected_count"))
    if unexpected and spec.expectation == "ExpectColumnValuesToNotBeNull":
        # A list of nulls says nothing; the rows around them do.
        nulls = f"select * from (select * from {suite.relation}) as judged where {spec.kwargs['column']} is null"
        return Verdict(judged, unexpected, _rows(engine, nulls))
    return Verdict(judged, unexpected, [dict(entry) for entry in result.result.get("partial_unexpected_counts") or []])


def _query_verdict(
    suite: Suite,
    spec: ExpectationSpec,
    result: "ExpectationValidationResult",
    row_count: int,
    engine: "Engine",
) -> Verdict:
    violation_count = int(result.result["observed_value"])
    if violation_count == 0:
        return Verdict(row_count, 0)
    query = spec.kwargs["unexpected_rows_query"].format(batch=f"(select * from {suite.relation}) as judged")
    return Verdict(row_count, violation_count, _rows(engine, query))


def _rows(engine: "Engine", query: str) -> list[dict[str, object]]:
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"select * from ({query}) as violations limit {SAMPLE_ROW_COUNT}")
        return [dict(row) for row in rows.mappings()]


def _open_read_only(database_path: Path) -> duckdb.DuckDBPyConnection:
    tried = f"Opened {database_path} read-only to judge it"
    if not database_path.is_file():
        raise ConfigurationError(f"{tried}; there is no such file. Build the stage before its gates.")
    try:
        return duckdb.connect(str(database_path), read_only=True)
    except duckdb.ConnectionException as error:
        raise ConfigurationError(
            f"{tried}; this process already holds it in another configuration ({error}). Pass that "
            "connection, or close it first."
        ) from error
    except duckdb.IOException as error:
        raise ConfigurationError(
            f"{tried}; DuckDB answered: {error}. Let the process that writes to it finish, then judge again."
        ) from error


def _register_buffered_dialect() -> str:
    """Make the dialect below known to SQLAlchemy under `duckdb.buffered`; the URL that selects it."""
    from sqlalchemy.dialects import registry  # noqa: PLC0415

    registry.register("duckdb.buffered", "dagster_project.gates._buffered_duckdb", "BufferedDialect")
    return "duckdb+buffered://"


def _buffered_connection(cursor: duckdb.DuckDBPyConnection) -> "BufferedConnection":
    from dagster_project.gates._buffered_duckdb import BufferedConnection  # noqa: PLC0415

    return BufferedConnection(cursor, row_limit=BUFFERED_ROW_COUNT)
