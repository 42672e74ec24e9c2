"""Contract terms: exact decimals from CSV and YAML; terms that cannot hold are rejected with the reason."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.sources.pulling import FIXTURES, NOW, Pulled, pull
from tests.sources.web import Answer, serving


@pytest.fixture
def terms(tmp_path: Path) -> Pulled:
    return pull(tmp_path, "contract_files", path=str(FIXTURES / "contracts" / "terms.csv"))


def test_contract_files_reads_a_discount(terms: Pulled):
    discount = terms.rows()[0]
    assert (discount["term_type"], discount["discount_share"]) == ("percentage_discount", Decimal("0.12"))
    assert (discount["valid_from"], discount["valid_to"]) == (date(2026, 7, 1), date(2027, 7, 1))
    assert (discount["unit_kind"], discount["unit_price"], discount["is_list"]) == (None, None, False)


def test_contract_files_reads_prices_per_million_and_per_unit(terms: Pulled):
    _, per_million, per_unit = terms.rows()
    assert per_million["unit_price"] == Decimal("0.00000035")
    assert per_unit["unit_price"] == Decimal("0.01")
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
    assert price["unit_price"] == Decimal("0.0000081")
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


# ---- one term

HEADER = (
    "contract_id,provider_name,model_pattern,term_type,unit_kind,usd_per_million,price_per_million,price_per_unit,"
    "pricing_currency,discount_share,multiplier,allowance_units,period_type,allowance_group,service_tier,region_id,"
    "context_over_tokens,context_up_to_tokens,off_peak_window_utc,valid_from,valid_to,is_list"
)
PRICE = {"contract_id": "C", "provider_name": "openai", "term_type": "unit_price", "valid_from": "2026-07-01"} | {
    "model_pattern": "gpt-5",
    "unit_kind": "input",
    "price_per_million": "2",
}


def _write(path: Path, *terms: dict[str, str]) -> None:
    names = HEADER.split(",")
    lines = [",".join(term.get(name, "") for name in names) for term in terms]
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")


def _pull(folder: Path, *terms: dict[str, str], days: int = 0) -> Pulled:
    _write(folder / "terms.csv", *terms)
    return pull(
        folder,
        "contract_files",
        now=NOW + timedelta(days=days),
        reference_dir=folder / "reference",
        path=str(folder / "terms.csv"),
    )


def _write_exchange_rates(folder: Path, *rows: str) -> None:
    (folder / "reference").mkdir(exist_ok=True)
    text = "\n".join(["pricing_currency,valid_from_date,usd_per_currency_unit,evidence", *rows, ""])
    (folder / "reference" / "seed_exchange_rates.csv").write_text(text, encoding="utf-8")


def test_price_has_currency_region_and_context(tmp_path: Path):
    _write_exchange_rates(tmp_path, "EUR,2026-07-01,1.08,Treasury")
    terms = _pull(
        tmp_path,
        PRICE | {"pricing_currency": "EUR", "region_id": "eu", "context_up_to_tokens": "200000"},
        PRICE | {"price_per_million": "4", "context_over_tokens": "200000"},
    )
    base, long = terms.rows()
    assert (base["unit_price"], base["pricing_currency"], base["region_id"]) == (Decimal("0.000002"), "EUR", "eu")
    assert (base["context_over_tokens"], base["context_up_to_tokens"]) == (None, 200_000)
    assert (long["unit_price"], long["pricing_currency"], long["context_over_tokens"]) == (
        Decimal("0.000004"), "USD", 200_000,
    )  # fmt: skip


def test_price_of_a_daily_window_is_one_row_per_window_of_the_week(tmp_path: Path):
    """16:30 to 00:30: seven evenings, of which Sunday's is cut at the end of the week: eight rows."""
    terms = _pull(tmp_path, PRICE, PRICE | {"price_per_million": "1", "off_peak_window_utc": "16:30-00:30"})
    rows = terms.rows()
    assert [row["record_index"] for row in rows] == [0] + [1] * 8
    assert (rows[0]["week_minute_from"], rows[0]["week_minute_to"]) == (None, None)
    windows = [(row["week_minute_from"], row["week_minute_to"]) for row in rows[1:]]
    assert windows[:2] == [(0, 30), (990, 1470)]
    assert sum(end - start for start, end in windows) == 7 * 8 * 60


def test_multipliers_and_allowances_are_terms(tmp_path: Path):
    common = {"contract_id": "C", "provider_name": "openai", "valid_from": "2026-07-01"}
    terms = _pull(
        tmp_path,
        common | {"term_type": "multiplier", "multiplier": "1.1", "region_id": "eu"},
        common
        | {"term_type": "free_allowance", "allowance_units": "5000", "period_type": "month", "unit_kind": "web_search"},
        common | {"term_type": "percentage_discount", "discount_share": "1"},
        common | {"term_type": "spend_discount", "discount_share": "0.05"},
        common | {"term_type": "multiplier", "multiplier": "2", "service_tier": "priority"},
    )
    multiplier, allowance, discount, spend, tier = terms.rows()
    assert (multiplier["multiplier"], multiplier["region_id"], multiplier["model_pattern"]) == (
        Decimal("1.1"), "eu", "*",
    )  # fmt: skip
    assert (allowance["allowance_units"], allowance["period_type"], allowance["allowance_group"]) == (
        5000, "month", "C",
    )  # fmt: skip
    assert (discount["discount_share"], discount["pricing_currency"]) == (1, None)
    assert (spend["discount_share"], spend["unit_kind"]) == (Decimal("0.05"), None)
    assert (tier["multiplier"], tier["service_tier"]) == (2, "priority")


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"price_per_million": ""}, "value_missing", "needs a price"),
        ({"price_per_million": "", "context_over_tokens": "9"}, "value_missing", "beside context_over_tokens"),
        ({"unit_kind": ""}, "value_missing", "the unit that it is for"),
        ({"unit_kind": "inputs"}, "value_unknown", "'inputs' is none of input,"),
        ({"price_per_million": "-2"}, "value_out_of_range", "is negative"),
        ({"price_per_million": "", "price_per_unit": "2"}, "price_implausible", "2,000,000.00 per million"),
        ({"usd_per_million": "2"}, "value_ambiguous", "usd_per_million and price_per_million"),
        ({"pricing_currency": "euro"}, "value_unknown", "ISO 4217"),
        (
            {"pricing_currency": "EUR", "price_per_million": "", "usd_per_million": "2"},
            "value_ambiguous",
            "USD with pricing_currency EUR",
        ),
        ({"discount_share": "0.1"}, "value_surplus", "has no discount_share"),
        ({"allowance_units": "5"}, "value_surplus", "has no allowance_units"),
        ({"context_over_tokens": "-1"}, "value_unparsable", "whole number"),
        ({"context_over_tokens": "9", "context_up_to_tokens": "9"}, "value_out_of_range", "is not more than"),
        ({"off_peak_window_utc": "16:30"}, "window_unparsable", "HH:MM-HH:MM"),
        ({"valid_to": "2026-07-01"}, "period_empty", "2026-07-01 is not after valid_from 2026-07-01"),
        ({"is_list": "perhaps"}, "value_unparsable", "true or false"),
        (
            {"term_type": "multiplier", "unit_kind": "", "price_per_million": "", "multiplier": "0"},
            "value_out_of_range",
            "above 0",
        ),
        (
            {"term_type": "spend_discount", "price_per_million": "", "discount_share": "0.05"},
            "value_surplus",
            "has no unit_kind",
        ),
        ({"term_type": "multiplier", "multiplier": "1.1"}, "value_surplus", "has no a price"),
        (
            {"term_type": "free_allowance", "price_per_million": "", "allowance_units": "0", "period_type": "day"},
            "value_out_of_range",
            "at least 1",
        ),
        (
            {"term_type": "free_allowance", "price_per_million": "", "allowance_units": "5", "period_type": "year"},
            "value_unknown",
            "none of day, month",
        ),
        (
            {"term_type": "percentage_discount", "price_per_million": "", "discount_share": "15"},
            "value_out_of_range",
            "15 % is 0.15",
        ),
    ],
)
def test_term_that_cannot_hold_is_refused_with_what_was_expected(
    tmp_path: Path, change: dict[str, str], code: str, words: str
):
    [reject] = _pull(tmp_path, PRICE | change).rejects()
    assert reject["reason_code"] == code
    assert words in reject["reason"]
    assert reject["reason"].startswith("contract C: ")


ALLOWANCE = {"contract_id": "C", "provider_name": "openai", "term_type": "free_allowance", "unit_kind": "input"} | {
    "allowance_units": "5000",
    "period_type": "month",
    "valid_from": "2026-07-01",
}


def test_allowance_may_be_of_a_tier_and_a_region(tmp_path: Path):
    [allowance] = _pull(tmp_path, ALLOWANCE | {"service_tier": "batch", "region_id": "eu"}).rows()
    assert (allowance["service_tier"], allowance["region_id"]) == ("batch", "eu")


def test_allowance_is_of_one_unit_kind(tmp_path: Path):
    [reject] = _pull(tmp_path, ALLOWANCE | {"unit_kind": ""}).rejects()
    assert (reject["reason_code"], reject["reason"]) == (
        "value_missing", "contract C: a free_allowance needs unit_kind, the unit that it is for",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "is_refused"),
    [
        ({}, True),
        ({"allowance_units": "5000"}, False),
        ({"allowance_group": "batch"}, False),
        ({"unit_kind": "output"}, False),
        ({"valid_from": "2026-08-01"}, True),
        ({"valid_from": "2026-09-01"}, False),
    ],
)
def test_rows_that_share_an_allowance_state_one_size(tmp_path: Path, change: dict[str, str], is_refused: bool):
    first = ALLOWANCE | {"valid_to": "2026-09-01"}
    second = ALLOWANCE | {"service_tier": "batch", "allowance_units": "900"} | change
    rejects = _pull(tmp_path, first, second).rejects()
    assert [row["reason_code"] for row in rejects] == ["allowance_ambiguous"] * 2 * is_refused
    if is_refused:
        assert "it grants 5000 input a month to the group C, row 2 900; expected one size" in rejects[0]["reason"]


@pytest.mark.parametrize(
    ("first", "second", "is_refused"),
    [
        ({}, {"price_per_million": "3"}, True),
        ({"valid_to": "2026-08-01"}, {"valid_from": "2026-07-31"}, True),
        ({"valid_to": "2026-08-01"}, {"valid_from": "2026-08-01"}, False),
        ({}, {"contract_id": "D"}, False),
        ({}, {"model_pattern": "GPT-5"}, True),
        ({}, {"model_pattern": "gpt-5*"}, False),
        ({}, {"region_id": "eu"}, False),
        ({}, {"service_tier": "batch"}, False),
        ({}, {"context_over_tokens": "200000"}, False),
        ({}, {"off_peak_window_utc": "16:00-18:00"}, False),
        ({"off_peak_window_utc": "16:00-18:00"}, {"off_peak_window_utc": "17:59-20:00"}, True),
        ({"off_peak_window_utc": "16:00-18:00"}, {"off_peak_window_utc": "18:00-20:00"}, False),
        ({}, {"is_list": "true"}, False),
    ],
)
def test_two_terms_of_one_key_may_not_hold_at_one_instant(
    tmp_path: Path, first: dict[str, str], second: dict[str, str], is_refused: bool
):
    rejects = _pull(tmp_path, PRICE | first, PRICE | second).rejects()
    assert [row["reason_code"] for row in rejects] == ["period_overlapping"] * 2 * is_refused
    if is_refused:
        assert "as row 2, which" in rejects[0]["reason"]
        assert "as row 1, which" in rejects[1]["reason"]


# ---- rates of exchange

EUR_PRICE = PRICE | {"pricing_currency": "EUR"}


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ([], "seed_exchange_rates.csv does not know EUR"),
        (["GBP,2026-01-01,1.25,Treasury"], "seed_exchange_rates.csv does not know EUR"),
        (
            ["EUR,2026-08-01,1.10,Treasury", "EUR,2026-07-02,1.08,Treasury"],
            "seed_exchange_rates.csv knows EUR from 2026-07-02 on",
        ),
    ],
)
def test_price_in_a_currency_without_a_rate_on_its_first_day_is_refused(tmp_path: Path, rates: list[str], words: str):
    _write_exchange_rates(tmp_path, *rates)
    pulled = _pull(tmp_path, PRICE, EUR_PRICE | {"unit_kind": "output"})
    [reject] = pulled.rejects()
    assert (reject["record_index"], reject["reason_code"]) == (1, "exchange_rate_missing")
    assert "contract C: pricing_currency EUR has no rate of exchange on valid_from 2026-07-01" in reject["reason"]
    assert words in reject["reason"]
    assert "expected a row of it with valid_from_date 2026-07-01 or before" in reject["reason"]
    assert [row["unit_kind"] for row in pulled.rows()] == ["input"]


def test_company_without_rates_of_exchange_has_prices_in_usd_only(tmp_path: Path):
    pulled = _pull(tmp_path, PRICE | {"unit_kind": "output"}, EUR_PRICE)
    assert pulled.reasons() == {1: "exchange_rate_missing"}


def test_last_good_version_stays_until_the_currency_has_a_rate(tmp_path: Path):
    _pull(tmp_path, PRICE)
    refused = _pull(tmp_path, EUR_PRICE, days=1)
    assert refused.failure.last_good_at == NOW
    assert "terms.csv: row 1: contract C: pricing_currency EUR has no rate of exchange" in refused.failure.message
    assert _current(refused) == [("terms.csv", 1, 0), ("terms.csv (refused)", 0, 1)]
    [held] = [item for item in refused.zone.current("contract_files") if item.rows_landed]
    assert held.landed_at == NOW

    _write_exchange_rates(tmp_path, "EUR,2026-06-01,1.08,Treasury")
    landed = _pull(tmp_path, EUR_PRICE, days=2)
    assert _current(landed) == [("terms.csv", 1, 0)]
    assert [row["pricing_currency"] for row in landed.rows()] == ["EUR"]

    _write_exchange_rates(tmp_path, "EUR,2026-07-02,1.08,Treasury")
    withdrawn = _pull(tmp_path, EUR_PRICE, days=3)
    assert withdrawn.failure.last_good_at == NOW + timedelta(days=2)


@pytest.mark.parametrize("row", ["EUR,soon,1.08,", "EUR,2026-01-01,,", "EUR,2026-01-01,0,", "EUR,2026-01-01,much,"])
def test_rate_of_exchange_that_is_none_leaves_the_last_good_version(tmp_path: Path, row: str):
    _pull(tmp_path, PRICE)
    _write_exchange_rates(tmp_path, "GBP,2026-01-01,1.25,Treasury", row)
    failure = _pull(tmp_path, PRICE, days=1).failure
    assert failure.last_good_at == NOW
    assert failure.message.startswith("Read seed_exchange_rates.csv: row 2 is EUR, ")
    assert "the USD for one unit, above 0" in failure.message


# ---- a version of a file


def _current(pulled: Pulled) -> list[tuple[str, int, int]]:
    """Input, landed and rejected rows of what is current."""
    return [
        (Path(item.input_uri).name, item.rows_landed, item.rows_rejected)
        for item in pulled.zone.current("contract_files")
    ]


def test_version_with_a_row_that_cannot_hold_is_refused_and_the_last_good_one_stays(tmp_path: Path):
    good, other = PRICE, PRICE | {"unit_kind": "output"}
    _pull(tmp_path, good, other)
    refused = _pull(tmp_path, good, other | {"price_per_million": "-1"}, days=1)
    failure = refused.failure
    assert "terms.csv: row 2: contract C: price_per_million -1 is negative, expected 0 or more" in failure.message
    assert failure.last_good_at == NOW
    assert _current(refused) == [("terms.csv", 2, 0), ("terms.csv (refused)", 0, 2)]
    [kept] = [item for item in refused.zone.current("contract_files") if item.rows_rejected]
    assert kept.rejects_file is not None
    rows = pq.read_table(kept.rejects_file.path).to_pylist()
    assert {row["record_index"]: row["reason_code"] for row in rows} == {0: "version_refused", 1: "value_out_of_range"}


def test_refused_version_is_said_again_at_every_pull_and_gone_once_corrected(tmp_path: Path):
    bad = PRICE | {"valid_to": "2026-01-01"}
    _pull(tmp_path, PRICE)
    messages = [_pull(tmp_path, bad, days=day).failure.message for day in (1, 2)]
    assert messages[0] == messages[1]
    assert "row 1: contract C: valid_to 2026-01-01 is not after" in messages[0]
    corrected = _pull(tmp_path, PRICE | {"valid_to": "2027-01-01"}, days=3)
    assert _current(corrected) == [("terms.csv", 1, 0)]
    assert [row["valid_to"] for row in corrected.rows()] == [date(2027, 1, 1)]


def test_first_version_lands_without_the_rows_that_cannot_hold(tmp_path: Path):
    first = _pull(tmp_path, PRICE, PRICE | {"unit_kind": ""})
    assert _current(first) == [("terms.csv", 1, 1)]


def test_contract_file_of_another_structure_leaves_the_last_good_one(tmp_path: Path):
    _pull(tmp_path, PRICE)
    (tmp_path / "terms.csv").write_text("contract_id,smell\n", encoding="utf-8")
    failure = pull(tmp_path, "contract_files", path=str(tmp_path / "terms.csv")).failure
    assert failure.last_good_at == NOW
    assert "column smell is unknown" in failure.message


def test_contract_file_is_fetched_by_its_url(tmp_path: Path):
    _write(tmp_path / "terms.csv", PRICE)
    with serving(Answer(body=(tmp_path / "terms.csv").read_bytes())) as web:
        url = web.url.replace("prices.json", "terms.csv")
        pulled = pull(tmp_path, "contract_files", url=url)
    assert pulled.landing.input_uri == url
    assert [row["unit_price"] for row in pulled.rows()] == [Decimal("0.000002")]
