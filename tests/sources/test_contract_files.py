"""Contract terms: exact decimals from CSV and YAML; terms that cannot hold are rejected with the reason."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from tests.sources.pulling import FIXTURES, Pulled, pull


@pytest.fixture
def terms(tmp_path: Path) -> Pulled:
    return pull(tmp_path, "contract_files", path=str(FIXTURES / "contracts" / "terms.csv"))


def test_contract_files_reads_a_discount(terms: Pulled):
    discount = terms.rows()[0]
    assert (discount["term_type"], discount["discount_share"]) == ("percentage_discount", Decimal("0.12"))
    assert (discount["valid_from"], discount["valid_to"]) == (date(2026, 7, 1), date(2027, 7, 1))
    assert (discount["unit_kind"], discount["usd_per_unit"], discount["is_list"]) == (None, None, False)


def test_contract_files_reads_prices_per_million_and_per_unit(terms: Pulled):
    _, per_million, per_unit = terms.rows()
    assert per_million["usd_per_unit"] == Decimal("0.00000035")
    assert per_unit["usd_per_unit"] == Decimal("0.01")
    assert per_million["is_list"] is True


def test_contract_files_rejects_terms_that_cannot_hold(terms: Pulled):
    assert terms.landing.rows_read == 12
    assert terms.reasons() == {
        3: "value_out_of_range",
        4: "value_out_of_range",
        5: "value_missing",
        6: "period_empty",
        7: "value_ambiguous",
        8: "value_unparsable",
        9: "value_unparsable",
        10: "value_unknown",
        11: "value_unparsable",
    }


def test_contract_files_reads_yaml_numbers_as_the_text_that_was_written(tmp_path: Path):
    pulled = pull(tmp_path, "contract_files", path=str(FIXTURES / "contracts" / "terms.yaml"))
    price, discount = pulled.rows()
    assert price["usd_per_unit"] == Decimal("0.0000081")
    assert (discount["discount_share"], discount["model_pattern"]) == (Decimal("0.05"), "*")
    assert price["valid_to"] is None


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "a.csv",
            "contract_id,provider_name,term_type,valid_from,discount\n",
            "column discount is unknown; known:",
        ),
        ("a.csv", "contract_id,provider_name\nC,openai\n", "column term_type, valid_from is absent"),
        ("a.csv", "", "is absent"),
        ("a.yaml", "terms: 5\n", "expected a list of terms"),
        ("a.yaml", "- 5\n", "line 1 is not a mapping of plain values"),
        ("a.yaml", "a: [\n", "not valid YAML"),
    ],
)
def test_contract_files_refuses_a_file_of_another_structure(tmp_path: Path, name: str, text: str, words: str):
    (tmp_path / name).write_text(text, encoding="utf-8")
    failure = pull(tmp_path, "contract_files", path=str(tmp_path / name)).failure
    assert words in failure.message
    assert not failure.is_transient
