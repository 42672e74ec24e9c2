"""Value equations: values worked by hand and computed by DuckDB, and one refusal of each kind."""

import csv
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from dagster_project.errors import ConfigurationError
from dagster_project.warehouse.value_equations import CompiledEquation, compile_equations

KPIS = """kpi_name,use_case_id,kpi_type,unit,goal,direction,baseline,is_outcome,description
resolved,support,boolean,count,1,up,0,true,Resolved without a human
handle_time_saved,support,number,s,300,up,0,false,Seconds of agent time saved
upsell,support,number,usd,10,up,0,false,Revenue added
csat,support,likert5,score,4,up,3,false,Satisfaction

confidence,support,percentage,share,0.9,up,0,false,Confidence
clicks,search,number,count,1,up,0,true,Clicks of another use case
"""
CONSTANTS = """constant_name,use_case_id,value,unit,valid_from,evidence
human_cost,support,6.00,usd_per_count,2026-01-01,Contact centre report
agent_wage,,0.0125,usd_per_s,2026-01-01,45 USD an hour
agent_wage,,0.015,usd_per_s,2026-08-01,54 USD an hour
seconds_per_page,search,30,s_per_count,2026-01-01,Survey
"""
EQUATION_HEADER = [
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
    "evidence",
]
EQUATION = {
    "equation_id": "cost_avoided",
    "use_case_id": "support",
    "result": "money",
    "category": "cost_avoided",
    "basis": "realised",
    "provenance": "measured",
    "equation": "resolved * 6.00 * usd",
    "valid_from": "2026-07-01",
    "valid_to": "",
    "version": "1",
    "evidence": "Report",
}


def _write_seeds(directory: Path, *equations: dict[str, str], kpis: str = KPIS, constants: str = CONSTANTS) -> Path:
    directory.joinpath("seed_kpis.csv").write_text(kpis, encoding="utf-8")
    directory.joinpath("seed_value_constants.csv").write_text(constants, encoding="utf-8")
    with directory.joinpath("seed_value_equations.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, EQUATION_HEADER)
        writer.writeheader()
        writer.writerows({**EQUATION, **equation} for equation in equations)
    return directory


def _compile_one(directory: Path, equation: str, **columns: str) -> CompiledEquation:
    (compiled,) = compile_equations(_write_seeds(directory, {"equation": equation, **columns}))
    return compiled


def _evaluate(compiled: CompiledEquation, started_date: str = "2026-07-15", **columns: str | None) -> Decimal | None:
    """Compute the expression on one instance; a KPI that is not given has no score."""
    scores = {
        name: columns.pop(name, None) for name in ("resolved", "handle_time_saved", "upsell", "csat", "confidence")
    }
    cost_usd = columns.pop("cost_usd", "0.5")
    assert not columns
    select = ", ".join(f"cast(? as decimal(18,6)) as kpi_{name}" for name in scores)
    row = duckdb.execute(
        f"select {compiled.sql} as value, typeof({compiled.sql}) from "
        f"(select {select}, cast(? as decimal(28,12)) as cost_usd, cast(? as date) as started_date)",
        [*scores.values(), cost_usd, started_date],
    ).fetchone()
    assert row is not None
    assert row[1] == "DECIMAL(28,9)"
    value: Decimal | None = row[0]
    return value


def _refusal(directory: Path, *equations: dict[str, str], kpis: str = KPIS, constants: str = CONSTANTS) -> str:
    with pytest.raises(ConfigurationError) as refusal:
        compile_equations(_write_seeds(directory, *equations, kpis=kpis, constants=constants))
    message = str(refusal.value)
    assert "Next step: " in message
    return message


def test_equation_of_the_support_agent_gives_5_50_per_resolution(tmp_path: Path):
    # design: 6.00 by hand against 0.50 per resolution by the agent
    compiled = _compile_one(tmp_path, "resolved * 6.00 * usd - cost_usd")
    assert _evaluate(compiled, resolved="1", cost_usd="0.50") == Decimal("5.50")
    assert _evaluate(compiled, resolved="0", cost_usd="0.50") == Decimal("-0.50")


@pytest.mark.parametrize(
    ("equation", "scores", "expected"),
    [
        ("resolved * human_cost", {"resolved": "2"}, "12"),
        ("handle_time_saved * agent_wage", {"handle_time_saved": "300"}, "3.75"),
        ("handle_time_saved / 3600 * 45 * usd / s", {"handle_time_saved": "1800"}, "22.5"),
        ("upsell * confidence", {"upsell": "19.99", "confidence": "0.25"}, "4.9975"),
        ("upsell + resolved * 6 * usd", {"upsell": "1.5", "resolved": "1"}, "7.5"),
        ("upsell - cost_usd - 0.25 * usd", {"upsell": "2"}, "1.25"),
        ("(upsell + 2 * usd) * (resolved - 3)", {"upsell": "1", "resolved": "1"}, "-6"),
        ("-upsell", {"upsell": "3.1"}, "-3.1"),
        ("upsell * -(1 + 1)", {"upsell": "3"}, "-6"),
        ("--upsell - -upsell", {"upsell": "3"}, "6"),
        ("min(upsell, 10 * usd)", {"upsell": "12"}, "10"),
        ("max(upsell, cost_usd)", {"upsell": "0.1"}, "0.5"),
        ("max(min(upsell, 10 * usd), 2 * usd)", {"upsell": "1"}, "2"),
        ("instances * 0.75 * usd", {}, "0.75"),
        ("upsell", {"upsell": "4"}, "4"),
        ("upsell / csat", {"upsell": "10", "csat": "4"}, "2.5"),
        ("upsell / 3", {"upsell": "10"}, "3.333333333"),
        ("2 * usd / 3 * resolved", {"resolved": "3"}, "2"),
        ("upsell / (csat * resolved) / 2", {"upsell": "12", "csat": "3", "resolved": "2"}, "1"),
        ("upsell * (confidence / csat)", {"upsell": "8", "confidence": "0.5", "csat": "2"}, "2"),
        ("2 / 3 * usd", {}, "0.666666667"),
        ("6 * usd / csat", {"csat": "4"}, "1.5"),
        ("max(1, 2) * min(5, 3) * usd", {}, "6"),
        ("6.00 * usd", {}, "6"),
    ],
)
def test_compiled_money_equation_computes_the_value_worked_by_hand(
    tmp_path: Path, equation: str, scores: dict[str, str], expected: str
):
    assert _evaluate(_compile_one(tmp_path, equation), **scores) == Decimal(expected)


def test_time_equation_gives_seconds(tmp_path: Path):
    compiled = _compile_one(tmp_path, "resolved * 420 * s", result="time", category="time_saved")
    assert compiled.result == "time"
    assert _evaluate(compiled, resolved="1") == Decimal(420)


def test_literals_and_products_are_exact_decimals(tmp_path: Path):
    compiled = _compile_one(tmp_path, "resolved * 0.1 * usd + 0.2 * usd")
    assert "cast('0.1' as decimal(18,9))" in compiled.sql
    assert "double" not in compiled.sql
    assert _evaluate(compiled, resolved="1") == Decimal("0.3")  # 0.30000000000000004 in floating point


def test_numbers_are_folded_so_that_an_hourly_wage_needs_no_division(tmp_path: Path):
    # 45 USD an hour is 0.0125 USD a second
    compiled = _compile_one(tmp_path, "handle_time_saved / 3600 * 45 * usd / s")
    factor, constant = "cast(kpi_handle_time_saved as decimal(28,9))", "cast('0.0125' as decimal(18,9))"
    assert compiled.sql == f"cast({factor} * {constant} as decimal(28,9))"


def test_product_of_large_factors_keeps_every_digit(tmp_path: Path):
    # In integers 123456789123456 * 987654321 = 121932631234567120853376, of which ten places are decimals.
    compiled = _compile_one(tmp_path, "upsell * 98765.4321")
    assert _evaluate(compiled, upsell="123456789.123456") == Decimal("12193263123456.712085338")
    # (10^6 - 10^-6) * (10^3 - 10^-6) = 10^9 - 1 - 10^-3 + 10^-12; both factors are KPIs.
    compiled = _compile_one(tmp_path, "upsell * csat")
    assert _evaluate(compiled, upsell="999999.999999", csat="999.999999") == Decimal("999999998.999")


@pytest.mark.parametrize(
    "equation",
    [
        "resolved * human_cost",
        "upsell + resolved * 6 * usd",
        "min(resolved * 6 * usd, 10 * usd)",
        "max(10 * usd, resolved * 6 * usd)",
        "upsell / resolved",
        "resolved * 0 * usd",
    ],
)
def test_missing_kpi_makes_the_value_unknown_and_not_zero(tmp_path: Path, equation: str):
    assert _evaluate(_compile_one(tmp_path, equation), upsell="5") is None


def test_unpriced_call_makes_the_margin_unknown(tmp_path: Path):
    compiled = _compile_one(tmp_path, "resolved * 6.00 * usd - cost_usd")
    assert _evaluate(compiled, resolved="1", cost_usd=None) is None


def test_kpi_that_the_equation_does_not_read_may_be_missing(tmp_path: Path):
    compiled = _compile_one(tmp_path, "resolved * human_cost")
    assert compiled.kpi_names == ("resolved",)
    assert _evaluate(compiled, resolved="1", csat=None) == Decimal(6)


@pytest.mark.parametrize("equation", ["upsell / resolved", "upsell / (1 - resolved * 1)", "upsell / (csat / resolved)"])
def test_division_by_a_zero_score_is_unknown(tmp_path: Path, equation: str):
    resolved = "1" if "1 -" in equation else "0"
    assert _evaluate(_compile_one(tmp_path, equation), upsell="5", csat="4", resolved=resolved) is None


def test_constant_follows_its_dates(tmp_path: Path):
    compiled = _compile_one(tmp_path, "handle_time_saved * agent_wage")
    assert _evaluate(compiled, "2026-07-31", handle_time_saved="100") == Decimal("1.25")
    assert _evaluate(compiled, "2026-08-01", handle_time_saved="100") == Decimal("1.5")


def test_constant_that_changes_after_the_equation_ends_is_a_literal(tmp_path: Path):
    compiled = _compile_one(tmp_path, "handle_time_saved * agent_wage", valid_to="2026-08-01")
    assert "case" not in compiled.sql
    assert "0.0125" in compiled.sql


def test_constant_of_the_use_case_takes_the_place_of_the_global_one(tmp_path: Path):
    constants = CONSTANTS + "agent_wage,support,0.02,usd_per_s,2026-01-01,Own contract\n"
    (compiled,) = compile_equations(
        _write_seeds(tmp_path, {"equation": "handle_time_saved * agent_wage"}, constants=constants)
    )
    assert _evaluate(compiled, "2026-09-01", handle_time_saved="100") == Decimal(2)


def test_division_by_a_dated_constant_uses_the_value_of_the_day(tmp_path: Path):
    constants = CONSTANTS + "team,support,4,count,2026-01-01,HR\nteam,support,0,count,2026-09-01,HR\n"
    (compiled,) = compile_equations(_write_seeds(tmp_path, {"equation": "upsell / team"}, constants=constants))
    assert _evaluate(compiled, "2026-08-31", upsell="10") == Decimal("2.5")
    assert _evaluate(compiled, "2026-09-01", upsell="10") is None


def test_versions_that_follow_each_other_compile_in_order(tmp_path: Path):
    seeds = _write_seeds(
        tmp_path,
        {"version": "2", "valid_from": "2026-08-01", "equation": "resolved * 7 * usd"},
        {"version": "1", "valid_from": "2026-07-01", "valid_to": "2026-08-01"},
    )
    assert [(e.version, e.valid_from, e.valid_to) for e in compile_equations(seeds)] == [
        ("1", date(2026, 7, 1), date(2026, 8, 1)),
        ("2", date(2026, 8, 1), None),
    ]


def test_dbt_var_is_plain_data_with_iso_dates(tmp_path: Path):
    compiled = _compile_one(tmp_path, "resolved * human_cost", valid_to="2026-10-01")
    variable = compiled.as_dbt_var()
    assert json.loads(json.dumps(variable)) == variable
    assert variable == {
        "equation_id": "cost_avoided",
        "use_case_id": "support",
        "result": "money",
        "category": "cost_avoided",
        "basis": "realised",
        "provenance": "measured",
        "valid_from": "2026-07-01",
        "valid_to": "2026-10-01",
        "version": "1",
        "equation": "resolved * human_cost",
        "sql": "cast(cast(kpi_resolved as decimal(28,9)) * cast('6' as decimal(18,9)) as decimal(28,9))",
        "kpi_names": ["resolved"],
    }


def test_open_equation_has_no_end_in_the_dbt_var(tmp_path: Path):
    assert _compile_one(tmp_path, "upsell").as_dbt_var()["valid_to"] is None


def test_seeds_without_equations_compile_to_nothing(tmp_path: Path):
    assert compile_equations(_write_seeds(tmp_path)) == []


def test_refusal_names_file_line_equation_reason_and_known_names(tmp_path: Path):
    message = _refusal(tmp_path, {}, {"equation_id": "typo", "equation": "resolvd * human_cost"})
    assert "seed_value_equations.csv, line 3: equation 'typo': in `resolvd * human_cost`" in message
    assert "the name `resolvd` is unknown in use case support" in message
    assert "KPIs: confidence, csat, handle_time_saved, resolved, upsell;" in message
    assert "constants: agent_wage, human_cost;" in message
    assert "system names: cost_usd, instances, s, usd." in message


def test_refusal_counts_the_lines_of_quoted_fields(tmp_path: Path):
    message = _refusal(tmp_path, {"evidence": "two\nlines"}, {"equation_id": "typo", "equation": "nothing * usd"})
    assert "line 4: equation 'typo'" in message


@pytest.mark.parametrize("name", ["clicks", "seconds_per_page"])
def test_name_of_another_use_case_is_unknown(tmp_path: Path, name: str):
    assert f"the name `{name}` is unknown in use case support" in _refusal(tmp_path, {"equation": f"{name} * usd"})


@pytest.mark.parametrize(
    ("equation", "observed"),
    [
        ("resolved * 6", "the result is a plain number, expected usd for money"),
        ("handle_time_saved", "the result is s, expected usd for money"),
        ("upsell * cost_usd", "the result is usd^2, expected usd for money"),
        ("upsell / s / s", "the result is usd / s^2, expected usd for money"),
        ("resolved / usd", "the result is 1 / usd, expected usd for money"),
        ("upsell + resolved", "`upsell + resolved` combines usd with a plain number"),
        ("upsell - handle_time_saved", "`upsell - handle_time_saved` combines usd with s"),
        ("max(upsell, 0)", "`max(upsell, 0)` combines usd with a plain number"),
        ("handle_time_saved * (agent_wage + 1 * usd)", "combines usd / s with usd"),
    ],
)
def test_wrong_unit_is_refused_with_the_unit_that_was_found(tmp_path: Path, equation: str, observed: str):
    assert observed in _refusal(tmp_path, {"equation": equation})


def test_money_in_a_time_equation_is_refused(tmp_path: Path):
    message = _refusal(tmp_path, {"result": "time", "category": "time_saved", "equation": "upsell"})
    assert "the result is usd, expected s for time" in message


@pytest.mark.parametrize(
    "equation",
    [
        "",
        "upsell **2",
        "upsell // 2",
        "upsell % 2",
        "upsell if resolved else cost_usd",
        "upsell > cost_usd",
        "[upsell]",
        "upsell; drop table x",
        "upsell # note",
        "__import__('os').system('true') * usd",
        "upsell.real",
        "abs(upsell)",
        "min(upsell)",
        "min(upsell, cost_usd, cost_usd)",
        "min(upsell, *upsell)",
        "sqrt.min(upsell, upsell)",
        "+upsell",
        "not upsell",
        "upsell, cost_usd",
        "1e3 * usd",
        "1_000 * usd",
        "0x10 * usd",
        "3j * usd",
        "True * usd",
        "None * usd",
        ".5 * usd",
        "upsell +",
        "(upsell",
        "upsell cost_usd",
        "lambda upsell",
        "0.0000000001 * upsell",
        "1000000000 * upsell",
        "100000 * 100000 * upsell",
        "upsell / 999999937 / 7",
        "999999999 * 999999999 * 999999999 * usd",
        "upsell / 0",
        "upsell / (1 - 1)",
        "(" * 60 + "upsell" + ")" * 60 + " + -" * 60 + "upsell",
        "-" * 60 + "upsell",
        "upsell + " * 60 + "upsell",
    ],
)
def test_anything_but_small_exact_arithmetic_is_refused(tmp_path: Path, equation: str):
    message = _refusal(tmp_path, {"equation": equation})
    assert "line 2: equation 'cost_avoided'" in message


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"result": "points"}, "result is 'points'; known: money, time"),
        ({"category": "fun"}, "category is 'fun'; known: revenue, cost_avoided, time_saved, risk"),
        ({"basis": "hoped"}, "basis is 'hoped'; known: realised, expected"),
        (
            {"provenance": "guessed"},
            "provenance is 'guessed'; known: measured, self_reported, derived, attested",
        ),
        ({"version": ""}, "must not be empty"),
        ({"use_case_id": ""}, "must not be empty"),
        ({"valid_from": ""}, "valid_from is '', expected YYYY-MM-DD"),
        ({"valid_from": "20260701"}, "valid_from is '20260701', expected YYYY-MM-DD"),
        ({"valid_to": "2026-02-30"}, "valid_to is '2026-02-30'"),
        ({"valid_to": "2026-07-01"}, "valid_to 2026-07-01 is not after valid_from 2026-07-01"),
        (
            {"valid_from": "2025-12-31", "equation": "resolved * human_cost"},
            "its first value from 2026-01-01",
        ),
    ],
)
def test_wrong_column_is_refused_with_what_was_expected(tmp_path: Path, columns: dict[str, str], reason: str):
    assert reason in _refusal(tmp_path, columns)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({}, {"version": "2", "valid_from": "2026-08-01"}, "the version on line 2 holds to no end"),
        (
            {"valid_to": "2026-08-02"},
            {"version": "2", "valid_from": "2026-08-01"},
            "version 2 begins 2026-08-01, but the version on line 2 holds to 2026-08-02",
        ),
        ({"valid_to": "2026-08-01"}, {"valid_from": "2026-08-01"}, "version 1 is also on line 2"),
        (
            {"valid_to": "2026-08-01"},
            {"version": "2", "valid_from": "2026-08-01", "use_case_id": "search", "equation": "clicks * usd"},
            "use_case_id 'search', on line 2 'support'",
        ),
    ],
)
def test_versions_that_contradict_each_other_are_refused(
    tmp_path: Path, first: dict[str, str], second: dict[str, str], reason: str
):
    assert reason in _refusal(tmp_path, first, second)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("wage,support,abc,usd,2026-01-01,x", "value is 'abc'"),
        ("wage,support,nan,usd,2026-01-01,x", "value is 'nan'"),
        ("wage,support,0.0000000001,usd,2026-01-01,x", "fits decimal(18,9)"),
        (
            "wage,support,1,eur,2026-01-01,x",
            "the unit 'eur' is unknown; known units: count, s, score, share, usd",
        ),
        ("wage,support,1,usd_per_hour,2026-01-01,x", "the unit 'usd_per_hour' is unknown"),
        ("wage,support,1,usd,,x", "valid_from is ''"),
        ("Wage-1,support,1,usd,2026-01-01,x", "constant_name is 'Wage-1'"),
        ("cost_usd,support,1,usd,2026-01-01,x", "'cost_usd' already means something else"),
        ("resolved,support,1,usd,2026-01-01,x", "'resolved' already means something else"),
        ("clicks,,1,usd,2026-01-01,x", "'clicks' already means something else"),
        (
            "human_cost,support,7,usd_per_count,2026-01-01,x",
            "two values from 2026-01-01, the other on line 2",
        ),
        ("human_cost,support,7,s,2026-02-01,x", "the unit is s, on line 2 it is usd_per_count"),
        ("wage,support,1,usd,2026-01-01", "the row has 5 fields, the header has 6"),
    ],
)
def test_wrong_constant_is_refused(tmp_path: Path, line: str, reason: str):
    message = _refusal(tmp_path, {}, constants=CONSTANTS + line + "\n")
    assert "seed_value_constants.csv, line 6:" in message
    assert reason in message


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("csat,support,likert5,score,4,up,3,false,Again", "'csat' already means something else"),
        ("time-saved,support,number,s,4,up,3,false,Dash", "kpi_name is 'time-saved'"),
        ("speed,support,number,ms,4,up,3,false,Unit", "KPI speed has the unit 'ms'; known: count, s, score"),
    ],
)
def test_wrong_kpi_is_refused(tmp_path: Path, line: str, reason: str):
    message = _refusal(tmp_path, {}, kpis=KPIS + line + "\n")
    assert "seed_kpis.csv, line 9:" in message
    assert reason in message


def test_missing_columns_are_refused_with_those_that_were_found(tmp_path: Path):
    message = _refusal(tmp_path, kpis="kpi_name,goal\n")
    assert "seed_kpis.csv, line 1: the columns use_case_id, unit are missing; observed: kpi_name, goal." in message


def test_missing_file_is_refused_with_its_path(tmp_path: Path):
    _write_seeds(tmp_path).joinpath("seed_kpis.csv").unlink()
    with pytest.raises(ConfigurationError, match=r"seed_kpis\.csv: .*does not exist\. Next step: "):
        compile_equations(tmp_path)


@pytest.mark.parametrize("content", [b"kpi_name,use_case_id,unit\n\xff,x,s\n", b'kpi_name,use_case_id,unit\n"a,b,c\n'])
def test_unreadable_file_is_refused(tmp_path: Path, content: bytes):
    _write_seeds(tmp_path).joinpath("seed_kpis.csv").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"seed_kpis\.csv: expected a UTF-8 CSV file, observed"):
        compile_equations(tmp_path)
