"""The ledger's costs against the shortest SQL that prices the same calls, on the benchmarks' company."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.benchmarks import pricing


@pytest.mark.integration
def test_ledger_holds_the_calls_and_costs_of_the_hand_written_sql(tmp_path: Path):
    folder = str(tmp_path)
    pricing.generate_landed(folder, calls=2_100, days=30)
    by_hand, by_dbt = pricing.price_by_hand(folder), pricing.price_by_dbt(folder)
    assert by_dbt["totals"] == by_hand["totals"]
    calls, list_cost_usd, contracted_cost_usd, _ = by_hand["totals"]
    assert calls == 2_100
    # A fifth of the models is 12 % cheaper on the last ten of the thirty days: about 0.8 % less, and never 12 %.
    assert 0 < list_cost_usd - contracted_cost_usd < list_cost_usd * Decimal("0.02")
