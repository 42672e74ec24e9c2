"""The models are SQL that another engine can run: what is DuckDB's alone stands in `macros/engine.sql` only.

Spark SQL stands for the scale-out engine; sqlglot reads and writes both.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import jinja2
import pytest
import sqlglot
from sqlglot import exp

from dagster_project.warehouse.dbt import DBT_PROJECT_DIR, DbtProject

ENGINE_MACROS = DBT_PROJECT_DIR / "macros" / "engine.sql"
SQL_FILES = sorted([*DBT_PROJECT_DIR.glob("models/**/*.sql"), *DBT_PROJECT_DIR.glob("macros/*.sql")])

# What Spark SQL does not have, and DuckDB reads without complaint.
DUCKDB_ONLY = {
    "a cast by colons": r"::",
    "a named argument or walrus": r":=",
    "whole-number division by slashes": r"//",
    "qualify": r"\bqualify\b",
    "a star with exclude": r"\bexclude\s*\(",
    "a star with replace": r"\*\s*replace\s*\(",
    "columns()": r"\bcolumns\s*\(",
    "group or order by all": r"\b(?:group|order)\s+by\s+all\b",
    "a join by position or as of": r"\b(?:positional|asof)\s+join\b",
    "a query that begins with from": r"(?:\A|\()\s*from\b",
    "a 128-bit integer": r"\bu?hugeint\b",
    "a literal list or struct": r"(?<![\w\]])\[|(?<!\{)\{(?![{%#])",
    "a DuckDB function": r"\b(?:epoch|epoch_ms|epoch_us|epoch_ns|make_timestamp|struct_pack|struct_extract|list_\w+|"
    r"unnest|generate_series|regexp_matches|regexp_extract_all|quantile_cont|quantile_disc|strftime|strptime|"
    r"date_diff|datediff|date_sub|date_add|arg_max|arg_min|max_by|string_agg|read_parquet|getvariable|"
    r"try_strptime|today|hash|sha256|json_extract_string)\s*\(",
    "a DuckDB type": r"\b(?:timestamptz|utinyint|usmallint|uinteger|ubigint|int128|bitstring|uuid)\b",
}
# Functions that sqlglot passes on without knowing them, and why each of them is right in both engines.
PASSED_ON = {
    "to_json": "the same name and meaning in both",
    "epoch_us": "DuckDB's side of microseconds_between and week_minute",
    "map_entries": "the same name and meaning in both",
    "list_reduce": "DuckDB's side of sum_of_products",
    "list_sum": "DuckDB's side of json_items_sum",
    "json_valid": "DuckDB's side of json_or_null",
}


def _sql(text: str) -> str:
    """Leave out comments and what Jinja alone reads; keep the SQL that Jinja writes."""
    text = re.sub(r"\{#.*?#\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{%.*?%\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{\{.*?\}\}", "jinja", text, flags=re.DOTALL)
    return re.sub(r"--[^\n]*", "", text).lower()


def _macros(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and body of each macro."""
    for found in re.finditer(r"\{% macro (?P<name>\w+)\(.*?\) -%\}(?P<body>.*?)\{%- endmacro %\}", text, re.DOTALL):
        yield found["name"], found["body"]


def _duckdb_only(text: str) -> list[str]:
    return [name for name, pattern in DUCKDB_ONLY.items() if re.search(pattern, text, re.MULTILINE)]


@pytest.fixture(scope="module")
def compiled(project: DbtProject) -> Mapping[str, str]:
    """SQL of every model as DuckDB gets it for one day, by name."""
    nodes = project.build(
        ["resource_type:model"],
        exclude=["resource_type:test", "resource_type:unit_test"],
        command="compile",
        variables={"min_date": "2026-07-10", "max_date": "2026-07-10"},
    )
    return {node.name: node.compiled_sql for node in nodes}


def _spark(sql: str) -> exp.Expression:
    (written,) = sqlglot.transpile(sql, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE)
    return sqlglot.parse_one(written, read="spark")


def test_every_model_is_compiled(compiled: Mapping[str, str]):
    assert set(compiled) == {path.stem for path in DBT_PROJECT_DIR.glob("models/**/*.sql")}
    assert "" not in compiled.values()


def test_every_model_can_be_written_as_spark_sql(compiled: Mapping[str, str]):
    unwritable = {}
    for name, sql in compiled.items():
        try:
            _spark(sql)
        except sqlglot.errors.SqlglotError as error:
            unwritable[name] = str(error)
    assert unwritable == {}


def test_every_function_of_every_model_is_known_to_both_engines(compiled: Mapping[str, str]):
    unknown = {
        (name, call.name.lower())
        for name, sql in compiled.items()
        for call in _spark(sql).find_all(exp.Anonymous)
        if call.name.lower() not in PASSED_ON
    }
    assert unknown == set()


@pytest.mark.parametrize("path", SQL_FILES, ids=lambda path: path.stem)
def test_file_holds_no_syntax_of_duckdb_alone(path: Path):
    text = path.read_text(encoding="utf-8")
    if path == ENGINE_MACROS:
        # Here it belongs, in macros that say so by their name.
        text = "\n".join(body for name, body in _macros(text) if not name.startswith("duckdb__"))
    assert _duckdb_only(_sql(text)) == []


@pytest.mark.parametrize(
    "sql",
    [
        "select a::int from t",
        "select struct_pack(a := 1)",
        "select a // b from t",
        "select * from t qualify row_number() over () = 1",
        "select * exclude (a) from t",
        "select * replace (a as b) from t",
        "select columns('a') from t",
        "select a from t group by all",
        "select * from a asof join b using (c)",
        "from t select a",
        "select cast(a as hugeint) from t",
        "select [1, 2]",
        "select {'a': 1}",
        "select epoch_us(a) from t",
        "select cast(a as timestamptz) from t",
    ],
)
def test_syntax_of_duckdb_alone_is_found(sql: str):
    assert _duckdb_only(_sql(sql)) != []


def test_syntax_of_both_engines_is_left_alone():
    sql = """
        select {{ usage_columns() | join(', ') }}, a[{% if x %}0{% endif %}] as b
        from t -- a::int
        where a between cast('2026-01-01' as date) and b {# c := d #}
        group by a order by b
    """
    assert _duckdb_only(_sql(sql)) == []


def test_every_duckdb_macro_has_its_spark_counterpart_and_a_dispatcher():
    names = {name for name, _ in _macros(ENGINE_MACROS.read_text(encoding="utf-8"))}
    own = {name.removeprefix("duckdb__") for name in names if name.startswith("duckdb__")}
    assert own
    assert {name.removeprefix("default__") for name in names if name.startswith("default__")} == own
    assert own - names == set()


@pytest.mark.parametrize(
    ("macro", "arguments", "spark_sql"),
    [
        ("integer_divide", ("a + b", "c"), "(CAST(a + b AS DECIMAL(38, 0)) DIV CAST(c AS DECIMAL(38, 0)))"),
        ("json_object_of", (["a", "b"],), "TO_JSON(NAMED_STRUCT('a', a, 'b', b))"),
        ("regexp_found", ("a", "b"), "(a RLIKE b)"),
        ("microseconds_between", ("a", "b"), "(UNIX_MICROS(b) - UNIX_MICROS(a))"),
        ("quantile", ("a", 0.9), "PERCENTILE(CAST(a AS DOUBLE), 0.9)"),
        (
            "week_minute",
            ("a",),
            "CAST((FLOOR(UNIX_SECONDS(a) / 60) + 4320) % 10080 AS INT)",
        ),
        (
            "map_of",
            ("a", "b", "c"),
            "MAP_FROM_ENTRIES(ARRAY_SORT(COLLECT_LIST(NAMED_STRUCT('a', a, 'b', b)) FILTER(WHERE c)))",
        ),
        (
            "sum_of_products",
            ("a", "b"),
            (
                "AGGREGATE(MAP_ENTRIES(a), CAST(0 AS DECIMAL(38, 15)), "
                "(total, entry) -> CAST(total + entry.value * b[entry.key] AS DECIMAL(38, 15)))"
            ),
        ),
        (
            "content_of_group",
            (["a"],),
            "ARRAY_JOIN(ARRAY_SORT(COLLECT_LIST(CONCAT_WS('|', COALESCE(CAST(a AS STRING), 'null')))), ';')",
        ),
        ("exploded_entries", ("a",), "EXPLODE(MAP_ENTRIES(a))"),
        ("unit_map_type", (), "MAP<STRING, DECIMAL(18, 3)>"),
        (
            "unit_map_of",
            ({"page": "a"},),
            (
                "CASE WHEN a <> 0 THEN MAP_FROM_ENTRIES(FILTER(ARRAY("
                "STRUCT('page' AS k, CAST(a AS DECIMAL(18, 3)) AS v)), entry -> entry.v <> 0)) END"
            ),
        ),
        ("json_or_null", ("a",), "a"),
        ("json_text_of_member", ("a", "b"), "GET_JSON_OBJECT(a, CONCAT('$.', b))"),
        ("json_text_at", ("a", "b/c.d"), "GET_JSON_OBJECT(a, '$.b[\\'c.d\\']')"),
        (
            "json_items_sum",
            ("a", "b", "c", ["d", "e"], "f"),
            (
                "AGGREGATE(FILTER(FROM_JSON(GET_JSON_OBJECT(a, '$.b'), 'array<string>'), "
                "item -> GET_JSON_OBJECT(item, '$.c') IN ('d', 'e')), CAST(NULL AS BIGINT), (total, item) -> COALESCE("
                "total + CAST(TRY_CAST(GET_JSON_OBJECT(item, '$.f') AS DECIMAL(38, 3)) AS BIGINT), total, "
                "CAST(TRY_CAST(GET_JSON_OBJECT(item, '$.f') AS DECIMAL(38, 3)) AS BIGINT)))"
            ),
        ),
    ],
)
def test_spark_side_of_a_macro_is_spark_sql(macro: str, arguments: tuple[object, ...], spark_sql: str):
    environment = jinja2.Environment(extensions=["jinja2.ext.do"], autoescape=False)  # noqa: S701 - SQL, not HTML
    macros = environment.from_string(ENGINE_MACROS.read_text(encoding="utf-8")).module
    written = getattr(macros, f"default__{macro}")(*arguments)
    if macro == "unit_map_type":
        assert exp.DataType.build(written, dialect="spark").sql("spark") == spark_sql
        return
    (read,) = sqlglot.transpile(f"select {written}", read="spark", write="spark")
    # sqlglot writes a named struct in its own way; the arguments are what counts.
    assert read.removeprefix("SELECT ").replace("STRUCT(a AS a, b AS b)", "NAMED_STRUCT('a', a, 'b', b)") == spark_sql


def test_parametrized_macros_are_all_that_differ():
    own = {name for name, _ in _macros(ENGINE_MACROS.read_text(encoding="utf-8")) if name.startswith("duckdb__")}
    tested = test_spark_side_of_a_macro_is_spark_sql.pytestmark[0].args[1]
    assert {f"duckdb__{macro}" for macro, *_ in tested} == own
