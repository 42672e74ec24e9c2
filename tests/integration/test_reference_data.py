"""Reference data with a mistake stops the build before what reads it; what is published stays."""

import json
from pathlib import Path

import pytest

from tests.integration.small_company import SmallCompany

pytestmark = pytest.mark.integration


def test_key_that_stands_twice_in_reference_data_stops_the_build_before_what_reads_it(
    built_company: SmallCompany, tmp_path: Path
):
    company = built_company.copy_to(tmp_path / "company")
    published = company.published_bytes()
    company.write_seed("seed_model_aliases", ["mill,mill-big,mill-large,Page 1", "mill,mill-big,mill-own,Page 2"])
    outcome = company.run()
    assert not outcome.is_success
    [check] = outcome.failed_checks
    assert (check.name, check.violation_count) == ("reference__seed_model_aliases_unique", 2)
    assert check.rule == "No two rows of seed_model_aliases.csv have the same provider_name and model_name."
    assert company.published_bytes() == published
    [(sample,)] = company.warehouse_rows(
        "select sample_json from ops.gate_results where not is_passed and stage = 'reference'"
    )
    assert sorted((row["model_name"], row["model_id"], row["evidence"]) for row in json.loads(sample)) == [
        ("mill-big", "mill-large", "Page 1"),
        ("mill-big", "mill-own", "Page 2"),
    ]
    company.write_seed("seed_model_aliases", ["mill,mill-big,mill-large,Page 1"])
    assert company.run().is_success
