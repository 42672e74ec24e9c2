"""A generated company of any size: rate cards, reference data, configuration, feed files, landing files.

Everything is made by DuckDB from row numbers, so ten million calls take seconds and are the same on every machine.
What is measured on it belongs to the other modules.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.settings import DEFAULT_REFERENCE_DIR, Settings, load_settings
from dagster_project.sources.table_files import CALLS
from dagster_project.warehouse.raw import _sql_type

START_DATE = date(2026, 1, 1)
MODEL_COUNT = 50
USE_CASE_COUNT = 8
CALLS_PER_INSTANCE = 5
RATE_DAYS = 15
DISCOUNT_SHARE = Decimal("0.12")
DISCOUNT_DAY = 20
RATE_PERIODS = 8

ListPrice = tuple[str, date, date, dict[str, Decimal]]

_PRICE_STEP = Decimal("1E-15")
_KINDS = {"input": Decimal(1), "cache_read": Decimal("0.1"), "output": Decimal(4)}
_TERM_COLUMNS = (
    "contract_id", "provider_name", "model_pattern", "term_type", "unit_kind", "usd_per_million", "discount_share",
    "service_tier", "valid_from", "valid_to", "signed_on", "is_list", "evidence",
)  # fmt: skip

_CONFIG = """\
organization: Benchmark
start_date: {start}
as_of: {end}T00:00:00Z
reference_dir: reference
sources:
  - name: bench_calls
    kind: table_files
    path: calls/*.parquet
    format: parquet
    timestamp: {{format: iso}}
    input_includes_cache: true
    output_includes_reasoning: true
    constants: {{provider_name: bench, service_tier: standard, team_name: benchmark}}
    columns: {{{columns}}}
  - name: bench_scores
    kind: kpi_files
    path: scores/*.parquet
    format: parquet
    constants: {{kpi_name: resolved, provenance: measured}}
    columns: {{scored_at: scored_at, score: score, use_case_id: use_case_id, use_case_instance_id: instance_id}}
  - {{name: bench_terms, kind: contract_files, path: terms.csv}}
"""

# What the calls of a day look like: canonical column -> expression over `i`, the call's number within the day.
_CALL_COLUMNS = {
    "event_at": "day_at + to_microseconds(cast(86_400_000_000 * i // day_calls + hash(i, day) % 1000 as bigint))",
    "call_id": "concat(day_text, '-', i)",
    "provider_name": "'bench'",
    "model_name": "printf('bench-model-%04d', hash(i // 7, day) % model_count)",
    "operation_name": "'chat'",
    "service_tier": "'standard'",
    "use_case_id": f"printf('bench_case_%02d', (i // {CALLS_PER_INSTANCE}) % {USE_CASE_COUNT})",
    "use_case_version": "'1'",
    "use_case_instance_id": f"concat('run-', day_text, '-', i // {CALLS_PER_INSTANCE})",
    "step_name": f"concat('step ', i % {CALLS_PER_INSTANCE})",
    "team_name": "'benchmark'",
    "is_success": "hash(i, 3, day) % 50 > 0",
    "latency_ms": "cast(200 + hash(i, 4, day) % 8000 as double)",
    "time_to_first_token_ms": "cast(50 + hash(i, 5, day) % 400 as double)",
    "input_tokens": "cast(200 + hash(i, 6, day) % 8000 as bigint)",
    "cache_read_tokens": "cast(hash(i, 6, day) % 8000 // 4 as bigint)",
    "output_tokens": "cast(20 + hash(i, 7, day) % 900 as bigint)",
    "reasoning_tokens": "cast(hash(i, 7, day) % 900 // 3 as bigint)",
    "input_includes_cache": "true",
    "output_includes_reasoning": "true",
}
_CONSTANT_COLUMNS = {"provider_name", "service_tier", "team_name", "input_includes_cache", "output_includes_reasoning"}
_FED_COLUMNS = [name for name in _CALL_COLUMNS if name not in _CONSTANT_COLUMNS]


@dataclass(frozen=True)
class Company:
    """A generated company below one folder."""

    folder: Path

    @property
    def terms_path(self) -> Path:
        """The rate card, as a contract file."""
        return self.folder / "terms.csv"

    @property
    def rates_path(self) -> Path:
        """The same prices for hand-written SQL: one row per model and interval, list and contracted."""
        return self.folder / "rates.parquet"

    @property
    def landed_dir(self) -> Path:
        """Calls in the landing schema, one file per day."""
        return self.folder / "landed"

    def settings(self) -> Settings:
        """The configuration, with its state in the company's folder."""
        return load_settings(config_path=self.folder / "company.yaml", state_dir=self.folder / "state", environ={})

    def found(self, *, days: int, models: int = MODEL_COUNT, rate_periods: int = RATE_PERIODS) -> None:
        """Write configuration, reference data and rates for a period; every model has a price per rate period."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.end_on(days)
        _write_reference(self.folder / "reference")
        prices = list(_list_prices(models, rate_periods))
        _write_terms(self.terms_path, prices)
        pq.write_table(_rate_table(prices), self.rates_path)

    def end_on(self, days: int) -> None:
        """Say that the period, and what is known, ends after so many days."""
        columns = ", ".join(f"{name}: {name}" for name in _FED_COLUMNS)
        end = START_DATE + timedelta(days=days)
        text = _CONFIG.format(start=START_DATE, end=end, columns=columns)
        (self.folder / "company.yaml").write_text(text, encoding="utf-8")

    def feed(self, *, first_day: int, days: int, calls_per_day: int) -> None:
        """Write the feed files of some days: calls, and a score for each instance."""
        (self.folder / "calls").mkdir(exist_ok=True)
        (self.folder / "scores").mkdir(exist_ok=True)
        with duckdb.connect() as con:
            for day in range(first_day, first_day + days):
                calls = _day_sql(day, calls_per_day, _FED_COLUMNS)
                _copy(con, calls, self.folder / "calls" / f"{_date(day)}.parquet")
                scores = f"""
                    select
                        max(event_at) as scored_at,
                        cast(hash(use_case_instance_id) % 10 < 7 as integer) as score,
                        use_case_id,
                        use_case_instance_id as instance_id
                    from ({calls})
                    group by use_case_id, use_case_instance_id
                """
                _copy(con, scores, self.folder / "scores" / f"{_date(day)}.parquet")

    def buy(self, commitments: int) -> None:
        """Buy capacity: so many commitments of 100 units, each deployed for a model; half of the calls run there."""
        models = [f"bench-model-{number % MODEL_COUNT:04d}" for number in range(commitments)]
        year = f"{START_DATE}T00:00:00Z,2027-01-01T00:00:00Z"
        rows = {
            "seed_commitments.csv": [
                f"bench-pool-{number:03d},bench,ptu,,,,,,PTU,100,1.00,,{year},Generated"
                for number in range(commitments)
            ],
            "seed_deployments.csv": [
                f"bench-ptu-{number:03d},bench-pool-{number:03d},bench,{model},,,,,100,{year},"
                for number, model in enumerate(models)
            ],
            "seed_capacity_throughputs.csv": [
                f"bench,PTU,{model},,30,0,4,1,1,60,{START_DATE},,Generated" for model in sorted(set(models))
            ],
            "seed_allocation_rules.csv": [
                "idle_by_use,10,,,,,idle_capacity,driver,capacity_cost_usd,,,,,2026-01-01,,Generated",
                "rest_evenly,20,,,,,,even,,use_case,,,,2026-01-01,,Generated",
            ],
        }
        for name, lines in rows.items():
            _write_seed(self.folder / "reference", name, lines)

    def land(self, *, calls: int, days: int, models: int = MODEL_COUNT, commitments: int = 0) -> None:
        """Write calls in the landing schema, without a pull."""
        deployed = {
            "deployment_id": "case when hash(i, 8, day) % 2 = 0 then printf('bench-ptu-%03d', hash(i // 7, day) % "
            f"model_count + model_count * (hash(i, 9, day) % {commitments // models})) end"
        }
        landed = {
            "source_name": "'bench_calls'",
            "landed_at": f"timestamptz '{_date(days)} 00:00:00+00'",
            "input_uri": "concat('calls/', day_text, '.parquet')",
            "record_index": "i",
        }
        with duckdb.connect() as con:
            con.execute("set TimeZone = 'UTC'")
            for day in range(days):
                folder = self.landed_dir / f"event_date={_date(day)}"
                folder.mkdir(parents=True, exist_ok=True)
                _copy(
                    con,
                    _day_sql(
                        day,
                        calls // days,
                        [name for name in CALLS.schema.names if name not in deployed or not commitments],
                        {**landed, **(deployed if commitments else {})},
                        models=models,
                    ),
                    folder / "calls.parquet",
                )


def _date(day: int) -> date:
    return START_DATE + timedelta(days=day)


def _day_sql(
    day: int, call_count: int, names: list[str], extra: dict[str, str] | None = None, *, models: int = MODEL_COUNT
) -> str:
    columns = dict(extra or {})
    for name in names:
        missing = f"cast(null as {_sql_type(CALLS.schema.field(name).type)})"
        columns[name] = _CALL_COLUMNS.get(name, missing)
    body = ", ".join(f"{expression} as {name}" for name, expression in columns.items())
    return f"""
        select {body}
        from (
            select
                range as i, {call_count} as day_calls, {models} as model_count, {day} as day,
                '{_date(day)}' as day_text,
                timestamptz '{_date(day)} 00:00:00+00' as day_at
            from range({call_count})
        )
    """


def _copy(con: duckdb.DuckDBPyConnection, sql: str, path: Path) -> None:
    con.execute("set TimeZone = 'UTC'")
    con.execute(f"copy ({sql}) to '{path}' (format parquet, compression zstd)")


def _write_reference(folder: Path) -> None:
    """Describe the generated use cases and their one KPI; reference data that is not there has no rows."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = [f"bench_case_{number:02d}" for number in range(USE_CASE_COUNT)]
    rows = {
        "seed_use_cases.csv": [f"{case},{case},benchmark,Benchmark,Owner,Generated,2026-01-01" for case in cases],
        "seed_kpis.csv": [f"resolved,{case},boolean,count,0.70,up,0,true,Generated" for case in cases],
        "seed_value_equations.csv": [
            f"{case}_value,{case},money,cost_avoided,realised,measured,resolved * 6.00 * usd,2026-01-01,,1,Generated"
            for case in cases
        ],
        "seed_provider_aliases.csv": ["bench,bench,,Generated"],
        "seed_value_constants.csv": [],
    }
    for name, lines in rows.items():
        _write_seed(folder, name, lines)


def _write_seed(folder: Path, name: str, lines: Sequence[str]) -> None:
    header = (DEFAULT_REFERENCE_DIR / name).read_text(encoding="utf-8").splitlines()[0]
    (folder / name).write_text("\n".join([header, *lines, ""]), encoding="utf-8")


def _list_prices(models: int, rate_periods: int) -> Iterator[ListPrice]:
    """Give model, first day, first day after, and USD per million by unit kind: a price falls every 15 days."""
    for model in range(models):
        for period in range(rate_periods):
            base = Decimal(100 + 7 * model - 3 * period) / 100
            first = _date(RATE_DAYS * period)
            after = _date(RATE_DAYS * (period + 1)) if period < rate_periods - 1 else date(2099, 1, 1)
            yield f"bench-model-{model:04d}", first, after, {kind: base * weight for kind, weight in _KINDS.items()}


def _is_discounted(model: str) -> bool:
    return int(model[-2:]) % 5 == 0


def _write_terms(path: Path, list_prices: Sequence[ListPrice]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_TERM_COLUMNS)
        for model, first, after, prices in list_prices:
            for kind, usd in prices.items():
                known = (usd, "", "standard", first, after, first, "true", "Generated")
                writer.writerow(("bench-card", "bench", model, "unit_price", kind, *known))
        for model in sorted({model for model, *_ in list_prices if _is_discounted(model)}):
            dated = (_date(DISCOUNT_DAY), "", _date(DISCOUNT_DAY), "false", "Generated")
            writer.writerow(("bench-2026", "bench", model, "percentage_discount", "", "", DISCOUNT_SHARE, "", *dated))


def _rate_table(list_prices: Sequence[ListPrice]) -> pa.Table:
    rows = []
    for model, first, after, prices in list_prices:
        unit = {kind: usd / 1_000_000 for kind, usd in prices.items()}
        cut = min(max(_date(DISCOUNT_DAY), first), after) if _is_discounted(model) else after
        for begin, end, paid_share in ((first, cut, Decimal(1)), (cut, after, 1 - DISCOUNT_SHARE)):
            if begin < end:
                paid = {kind: (usd * paid_share).quantize(_PRICE_STEP) for kind, usd in unit.items()}
                rows.append(
                    {
                        "model_name": model,
                        "valid_from_at": datetime(begin.year, begin.month, begin.day, tzinfo=UTC),
                        "valid_to_at": datetime(end.year, end.month, end.day, tzinfo=UTC),
                        **{f"list_{kind}": usd for kind, usd in unit.items()},
                        **{f"contracted_{kind}": usd for kind, usd in paid.items()},
                    }
                )
    price = pa.decimal128(18, 15)
    instant = pa.timestamp("us", "UTC")
    fields = [("model_name", pa.string()), ("valid_from_at", instant), ("valid_to_at", instant)]
    fields += [(f"{prefix}_{kind}", price) for prefix in ("list", "contracted") for kind in _KINDS]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))
