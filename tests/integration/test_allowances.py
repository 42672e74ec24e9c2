"""A month's free tokens are shared in the order of the calls, also when one arrives late and shifts who pays.

The small company has 15,500 input tokens free in March, whatever the model; an input token costs 0.000002 USD. A day
has six calls of 1,000 tokens, at 10:00, 10:01, 10:02, 15:00, 15:01 and 15:02, and one on bought capacity, which takes
none.
"""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.ledger import Ledger
from tests.integration.small_company import FIRST_DAY, LAST_DAY, SmallCompany, call, differing_tables

pytestmark = pytest.mark.integration

WEDNESDAY = date(2026, 3, 4)
TERM = "march,mill,*,free_allowance,input,15500,month,2026-01-01,Amendment 3"
HEADER = "contract_id,provider_name,model_pattern,term_type,unit_kind,allowance_units,period_type,valid_from,evidence"

FREE_BY_DAY = (
    "select event_date, sum(free_units) from marts.fct_call_charges group by 1 having sum(free_units) > 0 order by 1"
)
FREE_ON_WEDNESDAY = f"""
    select call_id, free_units['input'], contracted_cost_usd
    from marts.fct_calls
    where event_date = '{WEDNESDAY}' and free_units is not null
    order by called_at
"""
COSTS = "select sum(list_cost_usd), sum(contracted_cost_usd) from marts.fct_calls where pricing_status_type = 'priced'"


def test_late_call_shifts_who_pays_on_later_days(tmp_path: Path):
    company = SmallCompany.found(tmp_path / "company")
    company.write("contracts/allowances.csv", [HEADER, TERM])
    ledger = Ledger(company)
    ledger.run()

    # 6,000 on Monday and on Tuesday leave 3,500 on Wednesday: three calls and half of the fourth.
    assert company.warehouse_rows(FREE_BY_DAY) == [(FIRST_DAY, 6_000), (date(2026, 3, 3), 6_000), (WEDNESDAY, 3_500)]
    # A free call pays its 100 output tokens, 0.001; the straddling one also 500 x 0.000002 = 0.001.
    assert company.warehouse_rows(FREE_ON_WEDNESDAY) == [
        (f"{WEDNESDAY}-10-0", 1_000, Decimal("0.001")),
        (f"{WEDNESDAY}-10-1", 1_000, Decimal("0.001")),
        (f"{WEDNESDAY}-10-2", 1_000, Decimal("0.001")),
        (f"{WEDNESDAY}-15-0", 500, Decimal("0.002")),
    ]
    # 36 calls of 0.003 at list price, less 15,500 x 0.000002 = 0.031.
    assert company.warehouse_rows(COSTS) == [(Decimal("0.108"), Decimal("0.077"))]

    # A call of Monday 09:00 arrives late and takes 1,000: Wednesday keeps 2,500, and Monday to Sunday are built again.
    company.write_calls("late.csv", [call(f"{FIRST_DAY}T09:00:00Z", "late", f"run-{FIRST_DAY}-10")])
    ledger.run()
    assert ledger.ranges[-1] == [(FIRST_DAY, LAST_DAY)]
    assert company.warehouse_rows(FREE_BY_DAY) == [(FIRST_DAY, 7_000), (date(2026, 3, 3), 6_000), (WEDNESDAY, 2_500)]
    assert company.warehouse_rows(FREE_ON_WEDNESDAY) == [
        (f"{WEDNESDAY}-10-0", 1_000, Decimal("0.001")),
        (f"{WEDNESDAY}-10-1", 1_000, Decimal("0.001")),
        (f"{WEDNESDAY}-10-2", 500, Decimal("0.002")),
    ]
    assert company.warehouse_rows(COSTS) == [(Decimal("0.111"), Decimal("0.08"))]

    # A late call of Thursday, when nothing is free any more, is built with the days after it and changes no other.
    company.write_calls("later.csv", [call("2026-03-05T09:00:00Z", "later", "run-2026-03-05-10")])
    ledger.run()
    assert ledger.ranges[-1] == [(date(2026, 3, 5), LAST_DAY)]

    rebuilt = company.copy_without_state(tmp_path / "rebuilt")
    Ledger(rebuilt).run()
    assert differing_tables(company.settings.warehouse_path, rebuilt.settings.warehouse_path) == {}
