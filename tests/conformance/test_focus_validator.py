"""The official FOCUS validator, offline, on the Cost and Usage that the demo company exports.

focus-validator 2.2.1 bundles the rules of FOCUS 1.2 only and fetches those of later versions, so it judges the columns
that 1.2 and 1.4 share. What 1.2 calls ProviderName is who sells, here the issuer; PublisherName is our provider.
Every rule that it can run passes, or stands in `FALSE_ALARMS` with the reason.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import duckdb
import pytest

from tests.conformance.libraries import built_environment
from tests.conftest import NovaSpark

pytestmark = pytest.mark.integration

_REQUIREMENTS = Path(__file__).resolve().parent / "focus_validator_requirements.txt"
_PACKAGE = "lib/python3.11/site-packages/focus_validator"
RULES_VERSION = "1.2.0.1"

# What the export does not claim: names of accounts, availability zones, credits and token packs as currencies.
NOT_SUPPORTED = {"ACCOUNT_NAMING_SUPPORTED", "AVAILABILITY_ZONE_SUPPORTED", "VIRTUAL_CURRENCY_SUPPORTED"}

# Rules whose condition, as the validator reads it, is not what their text says; those above fail with them.
FALSE_ALARMS = {
    "InvoiceId-C-004-C": "must be null, without the condition that there is no invoice",
    "InvoiceId-C-005-C": "must not be null, without the condition that there is one",
    "CapacityReservationStatus-C-003-C": "its condition stands below an AND, which is not read",
    "CapacityReservationStatus-C-004-C": "its condition stands below an AND, which is not read",
    "CommitmentDiscountStatus-C-004-C": "asks for a status where the id is null, its text where it is not",
}
_PARENTS = {"InvoiceId-C-000-O", "InvoiceId-C-003-C", "CapacityReservationStatus-C-000-C",
            "CapacityReservationStatus-C-002-C", "CommitmentDiscountStatus-C-000-C",
            "CommitmentDiscountStatus-C-002-C"}  # fmt: skip


def _read_by_python_311(environment: Path) -> None:
    """Write the one expression that Python 3.11 cannot read in a way that it can."""
    path = environment / _PACKAGE / "config_objects" / "focus_to_duckdb_converter.py"
    text = path.read_text(encoding="utf-8")
    backslash = """f"'{k.replace('\\"', '\\"\\"')}'" for k in ignore_keys"""
    assert text.count(backslash) == 1
    path.write_text(
        text.replace(backslash, """"'" + k.replace('"', '""') + "'" for k in ignore_keys"""), encoding="utf-8"
    )


@pytest.fixture(scope="session")
def validator() -> Path:
    """The environment that has the validator."""
    return built_environment("focus-validator", _REQUIREMENTS, _read_by_python_311)


def _as_of_1_2(exported: Path, target: Path, columns: set[str]) -> None:
    with duckdb.connect() as con:
        con.execute("set timezone = 'UTC'")
        found = {row[0] for row in con.execute(f"describe from read_parquet('{exported}')").fetchall()}
        absent = columns - found - {"ProviderName", "PublisherName", "AvailabilityZone"}
        assert absent == set()
        con.execute(
            f"""
            copy (
                select {", ".join(sorted(columns & found))}, InvoiceIssuerName as ProviderName,
                    ServiceProviderName as PublisherName, cast(null as varchar) as AvailabilityZone
                from read_parquet('{exported}')
            ) to '{target}' (format parquet)
            """
        )


def _validate(validator: Path, data: Path) -> dict[str, str]:
    """Run every rule; gives pass, fail or skipped by rule."""
    package = validator / _PACKAGE
    rules = json.loads((package / "rules" / f"model-{RULES_VERSION}.json").read_text(encoding="utf-8"))
    criteria = ",".join(sorted(set(rules["ApplicabilityCriteria"]) - NOT_SUPPORTED))
    # Its list of currencies is read relative to the working directory.
    finished = subprocess.run(
        [str(validator / "bin" / "python"), "-m", "focus_validator.main", "--validate-version", RULES_VERSION,
         "--block-download", "--applicability-criteria", criteria, "--data-file", str(data)],
        cwd=package.parent, capture_output=True, text=True, check=False,
        env={"PATH": os.environ.get("PATH", ""), "HTTPS_PROXY": "http://127.0.0.1:9", "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    found = re.findall(r"^\S+ (\S+): (PASS|FAIL|SKIPPED)\b", finished.stdout, re.MULTILINE)
    assert found, finished.stdout + finished.stderr
    return dict(found)


@pytest.fixture(scope="module")
def columns(validator: Path) -> set[str]:
    rules = json.loads((validator / _PACKAGE / "rules" / f"model-{RULES_VERSION}.json").read_text(encoding="utf-8"))
    return {rule["Reference"] for rule in rules["ModelRules"].values() if rule.get("EntityType") == "Column"}


@pytest.fixture(scope="module")
def data(novaspark: NovaSpark, columns: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("focus") / "cost_and_usage.parquet"
    _as_of_1_2(novaspark.settings.exports_dir / "2026-07" / "focus" / "cost_and_usage.parquet", path, columns)
    return path


def _failed(results: dict[str, str]) -> set[str]:
    return {rule for rule, result in results.items() if result == "FAIL"}


def test_every_rule_passes_but_those_that_nothing_can_pass(validator: Path, data: Path):
    results = _validate(validator, data)
    assert _failed(results) == set(FALSE_ALARMS) | _PARENTS
    # Of 621 rules it does not run the dynamic and the optional ones, and those of what is not supported.
    assert sum(result == "PASS" for result in results.values()) > 300


def test_rules_on_what_is_no_correction_pass_when_they_judge(validator: Path, data: Path, tmp_path: Path):
    # "Not a correction" is asked of ChargeClass in a way in which null is neither: such rules, of products among them,
    # judge no row of ours until the column has a value, which is not an allowed one.
    path = _changed(data, tmp_path, "coalesce(ChargeClass, 'Original') as ChargeClass")
    alarms = set(FALSE_ALARMS) | _PARENTS
    assert {rule.split("-")[0] for rule in _failed(_validate(validator, path)) - alarms} == {"ChargeClass"}


def test_what_the_false_alarms_say_in_words_holds(data: Path):
    with duckdb.connect() as con:
        broken = con.execute(
            """
            select count(*) from read_parquet(?)
            where (CapacityReservationId is null and CapacityReservationStatus is not null)
                or (
                    ChargeCategory = 'Usage'
                    and (
                        (CapacityReservationId is not null and CapacityReservationStatus is null)
                        or (CommitmentDiscountId is not null and CommitmentDiscountStatus is null)
                    )
                )
            """,
            [str(data)],
        ).fetchone()
    assert broken == (0,)


def _changed(data: Path, folder: Path, change: str) -> Path:
    path = folder / "changed.parquet"
    with duckdb.connect() as con:
        con.execute("set timezone = 'UTC'")
        con.execute(f"copy (select * replace ({change}) from read_parquet('{data}')) to '{path}'")
    return path


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("'Usage-Based' as ChargeFrequency", "ChargeFrequency-C-004-C"),
        ("ListCost + 1 as ListCost, 'Original' as ChargeClass", "ListCost-C-009-C"),
        ("cast(null as varchar) as SkuPriceId, 'Original' as ChargeClass", "SkuPriceId-C-005-C"),
    ],
)
def test_what_is_wrong_is_found(validator: Path, data: Path, tmp_path: Path, change: str, rule: str):
    assert rule in _failed(_validate(validator, _changed(data, tmp_path, change)))
