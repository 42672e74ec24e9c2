"""The command line: help, the purity of `--json`, exit codes and clear errors, as a user's shell sees them."""

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from tests.integration.small_company import SmallCompany

REPOSITORY = Path(__file__).resolve().parents[1]


def _tokenledger(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from dagster_project.cli import main; main()", *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _options(company: SmallCompany) -> list[str]:
    return ["--config", str(company.root / "company.yaml"), "--state-dir", str(company.root / "state")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["run", "demo", "query", "explain", "receive"]),
        (["run", "--help"], ["--state-dir", "--config", "--json"]),
        (["query", "--help"], ["SQL"]),
    ],
)
def test_help_names_what_there_is(tmp_path: Path, arguments: list[str], words: list[str]):
    done = _tokenledger(*arguments, cwd=tmp_path)
    assert done.returncode == 0
    assert [word for word in words if word not in done.stdout] == []
    assert done.stderr == ""


def test_help_does_not_wait_for_the_pipeline_to_be_imported(tmp_path: Path):
    code = """
import sys
from dagster_project.cli import main
try:
    main(["run", "--help"])
finally:
    print(sorted({"dagster", "dbt", "polars"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_unknown_command_is_a_usage_error(tmp_path: Path):
    done = _tokenledger("runn", cwd=tmp_path)
    assert done.returncode == 2
    assert "No such command" in done.stderr


def test_wrong_configuration_is_one_message_that_names_file_line_and_choices(tmp_path: Path):
    config = tmp_path / "company.yaml"
    config.write_text("organization: Mill\nstart_date: 2026-03-02\nsources:\n  - {name: a, kind: table_filez}\n")
    done = _tokenledger("run", "--json", "--config", str(config), "--state-dir", str(tmp_path / "state"), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"ConfigurationError: {config}:4: key 'kind': unknown kind of source; known: ")
    assert "table_files" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_configuration_says_what_to_set(tmp_path: Path):
    done = _tokenledger("query", "select 1", "--config", "absent.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "absent.yaml: cannot read the configuration" in done.stderr
    assert "TOKENLEDGER_CONFIG" in done.stderr


def test_query_before_anything_is_published_says_what_publishes(tmp_path: Path):
    company = SmallCompany.found(tmp_path / "company")
    done = _tokenledger("query", "select 1", *_options(company), cwd=tmp_path)
    assert done.returncode == 2
    assert "Nothing is published" in done.stderr
    assert "tokenledger run" in done.stderr


def test_demo_of_a_company_without_a_demo_section_is_a_usage_error(tmp_path: Path):
    company = SmallCompany.found(tmp_path / "company")
    done = _tokenledger("demo", *_options(company), cwd=tmp_path)
    assert done.returncode == 2
    assert "has no `demo:` section" in done.stderr


def test_query_prints_what_is_published(built_company: SmallCompany):
    sql = "select sum(list_cost_usd) as list_cost_usd from marts.rpt_daily_spend"
    done = _tokenledger("query", sql, *_options(built_company), cwd=built_company.root)
    assert done.returncode == 0
    # 36 calls of 0.003 USD; the six on bought capacity have no list price.
    assert "0.108000000000000" in done.stdout


def test_explain_shows_the_arithmetic_of_a_call(built_company: SmallCompany):
    done = _tokenledger("explain", "2026-03-02-10-0", *_options(built_company), cwd=built_company.root)
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    # 1,000 in at 2.00 and 100 out at 10.00 USD per million.
    assert "input: 1,000 x 0.000002 USD = 0.002 USD at list price" in lines
    assert "output: 100 x 0.00001 USD = 0.001 USD at list price" in lines
    assert lines[-3:] == [
        "list cost: 0.003 USD, the sum of the charges",
        "contracted cost: 0.003 USD, the sum of the charges",
        "effective cost: 0.003 USD, the contracted cost",
    ]


def test_explain_as_json_is_all_that_stdout_holds(built_company: SmallCompany):
    done = _tokenledger(
        "explain",
        "2026-03-02-own",
        "--source",
        "mill_calls",
        "--json",
        *_options(built_company),
        cwd=built_company.root,
    )
    (found,) = json.loads(done.stdout)["calls"]
    # The one call of its hour takes all that was used of it.
    assert found["call"]["pricing_status_type"] == "provisioned"
    assert Decimal(found["call"]["effective_cost_usd"]) == Decimal(found["capacity_hour"]["used_cost_usd"])
    assert {row["unit_kind_type"]: row["quantity_units"] for row in found["charges"]} == {
        "input": "20000.000",
        "output": "2500.000",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody"], ["call_id = 'nobody' in every source", "42 calls from 2026-03-02 to 2026-03-08", "mill_calls"]),
        (["2026-03-02-10-0", "--source", "other"], ["source_name = 'other'", "of the sources mill_calls"]),
    ],
)
def test_explain_of_an_unknown_call_says_what_was_tried(
    built_company: SmallCompany, arguments: list[str], words: list[str]
):
    done = _tokenledger("explain", *arguments, *_options(built_company), cwd=built_company.root)
    assert done.returncode == 2
    assert done.stdout == ""
    message = " ".join(done.stderr.split())
    assert [word for word in words if word not in message] == []


def test_explain_names_the_sources_that_share_an_id(company: SmallCompany):
    with duckdb.connect(str(company.settings.serving_path)) as con:
        con.execute(
            "insert into marts.fct_calls select * replace ('other' as source_name) from marts.fct_calls"
            " where call_id = '2026-03-02-10-0'"
        )
    both = _tokenledger("explain", "2026-03-02-10-0", *_options(company), cwd=company.root)
    assert both.stdout.startswith("2 calls have this id, of mill_calls, other; --source chooses.")
    one = _tokenledger("explain", "2026-03-02-10-0", "--source", "other", *_options(company), cwd=company.root)
    assert one.stdout.startswith("2026-03-02-10-0 of other: mill mill-large")
    assert one.stdout.splitlines().count("list cost: 0.003 USD, the sum of the charges") == 1


def test_settings_may_come_from_the_environment(built_company: SmallCompany):
    done = _tokenledger(
        "query",
        "select count(*) as calls from marts.fct_calls",
        cwd=built_company.root,
        TOKENLEDGER_CONFIG=str(built_company.root / "company.yaml"),
        TOKENLEDGER_STATE_DIR=str(built_company.root / "state"),
    )
    assert done.returncode == 0
    assert "42" in done.stdout


@pytest.mark.integration
def test_json_of_a_successful_run_is_all_that_stdout_holds(company: SmallCompany):
    done = _tokenledger("run", "--json", *_options(company), cwd=company.root)
    content = json.loads(done.stdout)
    assert done.returncode == 0
    assert content["is_success"] is True
    assert content["organization"] == "Mill"
    assert content["rows"]["calls"] == 42
    assert Decimal(content["spend_usd"]["list"]) == Decimal("0.108")
    assert content["gates"]["failed_count"] == 0
    assert content["built_days"] == []
    # Progress goes to the terminal.
    assert "raw gates" in done.stderr


@pytest.mark.integration
def test_run_that_fails_exits_with_one_and_names_the_gate(company: SmallCompany):
    company.write_terms("rates.csv", [])
    done = _tokenledger("run", *_options(company), cwd=company.root)
    assert done.returncode == 1
    # One line for all gates that had no row.
    assert "failed: raw__contract_files_terms_not_empty: no row to judge, like " in done.stdout
    assert done.stdout.count("failed: raw__contract_files_terms") == 1
    # No day is requested on prices that no gate let through, and what was published stays.
    assert company.rows("select count(*), sum(list_cost_usd) from marts.fct_calls") == [(42, Decimal("0.108"))]
    assert "Traceback" not in done.stdout + done.stderr
