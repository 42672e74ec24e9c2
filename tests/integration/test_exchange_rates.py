"""A price list in euros comes into force when there is a rate of exchange for it, and not before.

The small company has 36 calls of 1,000 input and 100 output tokens. At 2 and 10 USD per million a call costs 0.003, all
of them 0.108. The list's next version says 2 and 8 EUR: at 1.25 USD per EUR 0.0025 + 0.001 = 0.0035, all of them 0.126.
"""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.ledger import Ledger
from tests.integration.small_company import SmallCompany

pytestmark = pytest.mark.integration

HEADER = (
    "contract_id,provider_name,model_pattern,term_type,unit_kind,price_per_million,pricing_currency,valid_from,is_list"
)
IN_EUROS = [
    f"card,mill,mill-large,unit_price,{kind},{price},EUR,2026-02-01,true"
    for kind, price in (("input", 2), ("output", 8))
]
COSTS = """
    select sum(list_cost_usd), count(*) filter (list_cost_usd is null)
    from marts.fct_calls
    where model_id = 'mill-large'
"""
REJECTED = """
    select record_index, reason_code, reason from raw.raw_contract_files__terms_rejected
    where input_uri = 'contracts/rates.csv (refused)' order by 1
"""


def test_list_in_euros_waits_for_a_rate_of_exchange_and_the_last_good_one_stays(tmp_path: Path):
    company = SmallCompany.found(tmp_path / "company")
    ledger = Ledger(company)
    ledger.run()
    assert company.warehouse_rows(COSTS) == [(Decimal("0.108"), 0)]

    company.write("contracts/rates.csv", [HEADER, *IN_EUROS])
    exchange = ["pricing_currency,valid_from_date,usd_per_currency_unit,evidence", "EUR,2026-02-02,1.25,Treasury"]
    company.write("reference/seed_exchange_rates.csv", exchange)
    ledger.run()
    assert company.warehouse_rows(COSTS) == [(Decimal("0.108"), 0)]
    assert [len(failures) for failures in ledger.failures] == [0, 1]
    rejected = company.warehouse_rows(REJECTED)
    assert [row[:2] for row in rejected] == [(0, "exchange_rate_missing"), (1, "exchange_rate_missing")]
    assert "EUR has no rate of exchange on valid_from 2026-02-01" in rejected[0][2]

    company.write("reference/seed_exchange_rates.csv", [exchange[0], exchange[1].replace("-02-02", "-02-01")])
    ledger.run()
    assert company.warehouse_rows(COSTS) == [(Decimal("0.126"), 0)]
    assert company.warehouse_rows(REJECTED) == []
