"""Every cross-stage gate passes on a ledger of two days that balances, and fails on each way of not balancing.

The ledger: on 1 July the feed `calls` brings three records, of which two are calls and one is rejected; on 2 July two,
of which one is a call and one is none. A call costs 0.003 at list price and 0.002 by contract. Call b used 20 of its
100 input tokens as video and 5 of its 10 output tokens as an image, and 3 pages, which are no tokens. Of 2 pages
that are free in July call b has both. The provider says that call a cost 0.0025 and call p, on bought capacity, 0.01.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import duckdb
import pytest

from dagster_project.gates.gate import GateResult, GateRun
from dagster_project.gates.ledger import GATES_DIR, LEDGER_GATES
from dagster_project.gates.sql_gate import judge

RUN = GateRun(run_id="run-1", checked_at=datetime(2026, 7, 3, tzinfo=UTC))
EVERYTHING = (date(1970, 1, 1), date(9999, 12, 30))

USAGE_ROWS = "intermediate__usage_rows_conserved"
TOKENS = "marts__fct_calls_tokens_conserved"
FREE_UNITS = "marts__fct_calls_free_units_conserved"
CHARGES = "marts__fct_call_charges_costs_conserved"
REPORT = "marts__rpt_daily_spend_costs_conserved"
DAILY = "intermediate__daily_charges_costs_conserved"
STATED = "marts__rpt_reported_costs_costs_conserved"
ALLOCATIONS = "marts__fct_cost_allocations_costs_conserved"
INSTANCES = "marts__fct_use_case_instances_costs_conserved"
CAPACITY = "marts__fct_capacity_hours_costs_conserved"
RECONCILIATION = "marts__fct_period_charges_amounts_reconciled"
SPILLOVER = "marts__fct_capacity_hours_spillover_conserved"
INVOICES = "marts__fct_invoice_lines_amounts_conserved"
CONVERSION = "marts__fct_invoice_lines_conversion_reconciled"
DAYS = "marts__rpt_daily_reconciliation_amounts_reconciled"
REPORTS = "marts__fct_provider_usage_units_conserved"
FOCUS_USAGE = "marts__focus_cost_and_usage_usage_conserved"
FOCUS_LINES = "marts__focus_cost_and_usage_lines_reconciled"
FOCUS_BILLS = "marts__focus_cost_and_usage_bills_reconciled"

LEDGER = """
    create table ops.landing_files as from (values
        ('usage', 'calls', date '2026-07-01', 3),
        ('usage', 'calls', date '2026-07-02', 2),
        ('kpis', 'scores', date '2026-07-01', 9)
    ) as t (feed, source_name, event_date, row_count);

    create table intermediate.int_usage__calls_rejected as from (values
        ('calls', date '2026-07-01', 50, 5)
    ) as t (source_name, event_date, reported_input_tokens, reported_output_tokens);

    create table intermediate.int_usage__records_not_calls as from (values
        ('calls', date '2026-07-02', 1)
    ) as t (source_name, event_date, record_count);

    create table marts.fct_calls as
    select
        'calls' as source_name, call_id, event_date,
        cast(60 as bigint) as input_tokens, cast(30 as bigint) as cache_read_tokens,
        cast(0 as bigint) as cache_write_5m_tokens, cast(0 as bigint) as cache_write_1h_tokens,
        cast(0 as bigint) as input_audio_tokens, cast(0 as bigint) as input_image_tokens,
        cast(10 as bigint) as embedding_tokens, cast(7 as bigint) as output_tokens,
        cast(3 as bigint) as reasoning_tokens, cast(null as map(varchar, decimal(18, 3))) as other_units,
        cast(0 as bigint) as output_audio_tokens,
        cast(0.003 as decimal(38, 15)) as list_cost_usd, cast(0.002 as decimal(38, 15)) as contracted_cost_usd,
        cast(0.002 as decimal(38, 15)) as effective_cost_usd, 'priced' as pricing_status_type,
        'support' as use_case_id, 'run-1' as use_case_instance_id, cast(null as varchar) as deployment_id
    from (values ('a', date '2026-07-01'), ('b', date '2026-07-01'), ('c', date '2026-07-02'))
        as t (call_id, event_date);

    create table reference.seed_unit_kinds as from (values
        ('input_video', 'input', true), ('output_image', 'output', true), ('page', 'none', false)
    ) as t (unit_kind, direction_type, is_token);

    create table intermediate.int_usage__calls_reported as
    select source_name, event_date, 100 as reported_input_tokens, 10 as reported_output_tokens from marts.fct_calls
    union all
    from intermediate.int_usage__calls_rejected;

    create table marts.fct_call_charges as
    select
        calls.call_id, calls.event_date, unit_kind_type, true as is_call_priced,
        cast(list_cost_usd_of_kind as decimal(38, 15)) as list_cost_usd,
        cast(contracted_cost_usd_of_kind as decimal(38, 15)) as contracted_cost_usd
    from marts.fct_calls as calls
    cross join (values ('input', 0.001, 0.001), ('output', 0.002, 0.001))
        as kinds (unit_kind_type, list_cost_usd_of_kind, contracted_cost_usd_of_kind);

    create table marts.rpt_daily_spend as
    select
        event_date, 'openai' as provider_name, count(*) as call_count, 0 as unpriced_call_count,
        sum(list_cost_usd) as list_cost_usd,
        sum(contracted_cost_usd) as contracted_cost_usd, sum(effective_cost_usd) as effective_cost_usd
    from marts.fct_calls group by event_date;

    create table intermediate.int_allocation__daily_charges as
    select source_name, event_date, unit_kind_type, cast(call_count as bigint) as call_count,
        cast(list as decimal(38, 15)) as list_cost_usd, cast(contracted as decimal(38, 15)) as contracted_cost_usd,
        cast(effective as decimal(38, 15)) as effective_cost_usd
    from (values
        ('calls', date '2026-07-01', 'input', 2, 0.005, 0.004, 0.004),
        ('calls', date '2026-07-01', 'request', 2, 0.001, 0, 0),
        ('own', date '2026-07-01', 'request', 1, null, 0, 0.25),
        ('calls', date '2026-07-02', 'request', 1, 0.003, 0.002, 0.002)
    ) as t (source_name, event_date, unit_kind_type, call_count, list, contracted, effective);

    create table reference.seed_other_costs as
    select 'staff' as vendor_name, date '2026-07-01' as period_month, cast(18.50 as decimal(18, 2)) as amount_usd;

    create table marts.fct_cost_allocations as
    select provider_name, account as billing_account_id, date '2026-07-01' as billing_period_start_date, cause_type,
        use_case_id, cast(cost as decimal(38, 18)) as allocated_cost_usd
    from (values
        ('openai', 'acme', 'tax', 'support', 12), ('openai', 'acme', 'tax', 'search', 8.25422672899),
        ('openai', 'acme', 'rounding', null, 0.01), ('staff', null, 'other_cost', 'search', 18.5),
        ('openai', 'acme', null, 'support', 0.254), ('openai', 'other', null, null, 0.002)
    ) as t (provider_name, account, cause_type, use_case_id, cost);

    create table marts.fct_use_case_instances as
    select 'support' as use_case_id, 'run-1' as use_case_instance_id, date '2026-07-01' as started_date,
        cast(3 as bigint) as call_count, cast(0.006 as decimal(38, 15)) as priced_cost_usd;

    create table reference.seed_commitments as
    select 'pool' as commitment_id, cast(2 as bigint) as bought_units, cast(1.5 as decimal(18, 9)) as usd_per_unit_hour,
        timestamptz '2026-01-01 00:00:00+00' as starts_at, timestamptz '2027-01-01 00:00:00+00' as ends_at;

    insert into marts.fct_calls by name
    select 'own' as source_name, 'p' as call_id, date '2026-07-01' as event_date, 0 as input_tokens,
        0 as cache_read_tokens, 0 as cache_write_5m_tokens, 0 as cache_write_1h_tokens, 0 as input_audio_tokens,
        0 as input_image_tokens, 0 as embedding_tokens, 0 as output_tokens, 0 as reasoning_tokens,
        0 as output_audio_tokens, 0.25 as effective_cost_usd, 'provisioned' as pricing_status_type,
        'own' as deployment_id;
    insert into ops.landing_files values ('usage', 'own', date '2026-07-01', 1);
    update marts.fct_calls set input_tokens = 40, output_tokens = 2,
        other_units = map {'input_video': 20.000, 'output_image': 5.000, 'page': 3.000} where call_id = 'b';
    update marts.rpt_daily_spend set call_count = 3, effective_cost_usd = 0.254 where event_date = date '2026-07-01';

    alter table marts.fct_calls add column reported_cost_usd decimal(38, 15);
    update marts.fct_calls set reported_cost_usd = case call_id when 'a' then 0.0025 else 0.01 end
    where call_id in ('a', 'p');
    create table marts.rpt_reported_costs as
    select date '2026-07-01' as event_date, 2 as call_count, cast(0.0125 as decimal(38, 15)) as reported_cost_usd,
        cast(0.252 as decimal(38, 15)) as effective_cost_usd, cast(0.2395 as decimal(38, 15)) as difference_usd;

    alter table marts.fct_calls add column free_units map(varchar, decimal(18, 3));
    update marts.fct_calls set free_units = map {'page': 2.000} where call_id = 'b';
    create table intermediate.int_pricing__allowance_units as
    select 'pages' as allowance_key, date '2026-07-01' as period_start_date, 'page' as unit_kind, 'b' as call_id,
        cast(3 as decimal(18, 3)) as quantity_units, cast(2 as decimal(18, 3)) as free_units,
        cast(2 as decimal(18, 3)) as allowance_units, date '2026-07-01' as event_date;

    create table marts.fct_capacity_hours as
    select 'pool' as commitment_id, 'own' as deployment_id, 'deployment' as allocation_type,
        timestamptz '2026-07-01 00:00:00+00' + hour * interval 1 hour as hour_at,
        date '2026-07-01' as event_date, cast(3.5 as decimal(28, 9)) as cost_usd,
        cast(0.5 as decimal(28, 9)) as overage_cost_usd,
        cast(case when hour = 0 then 0.25 else 0 end as decimal(28, 9)) as used_cost_usd,
        case when hour = 0 then 2 else 0 end as spillover_call_count,
        case when hour = 0 then 2100 else 0 end as spillover_tokens
    from range(24) as hours (hour);

    insert into ops.landing_files values ('invoices', 'bill', date '2026-07-01', 4);
    create table intermediate.int_usage__calls as from (values
        (date '2026-07-01', true), (date '2026-07-01', true), (date '2026-07-01', false), (date '2026-07-02', false)
    ) as t (event_date, is_spillover);

    create table intermediate.int_capacity__call_work as from (values
        ('c-1', date '2026-07-01', true, 2100), ('c-2', date '2026-07-01', true, null),
        ('c-3', date '2026-07-01', false, 700)
    ) as t (call_id, event_date, is_spillover, work_tokens);
    alter table intermediate.int_capacity__call_work add column source_name varchar default 'calls';

    create table intermediate.int_billing__lines_delivered as from (values
        ('bill', 'USD', cast(20.5 as decimal(38, 18))), ('bill', 'USD', cast(0.02022672899 as decimal(38, 18))),
        ('bill', 'USD', cast(19.5 as decimal(38, 18))), ('bill', 'EUR', cast(7 as decimal(38, 18)))
    ) as t (source_name, billing_currency_code, billed_cost_in_billing_currency);

    create table intermediate.int_billing__lines_classified as
    select *, case when billed_cost_in_billing_currency = 19.5 then 'superseded_by_later_delivery' end as reject_reason
    from intermediate.int_billing__lines_delivered;

    create table reference.seed_exchange_rates as from (values
        ('EUR', date '2026-07-02', cast(1.08 as decimal(18, 12)))
    ) as t (pricing_currency, valid_from_date, usd_per_currency_unit);

    insert into ops.landing_files values ('reports', 'usage_report', date '2026-07-01', 3);
    create table intermediate.int_billing__reports_classified as from (values
        ('usage_report', date '2026-07-01', 1500, 500, null),
        ('usage_report', date '2026-07-01', null, null, null),
        ('usage_report', date '2026-07-01', 900, 300, 'superseded_by_later_delivery')
    ) as t (source_name, event_date, reported_input_tokens, reported_output_tokens, reject_reason);
    create table intermediate.int_billing__reports_rejected as
    from intermediate.int_billing__reports_classified where reject_reason is not null;
    insert into reference.seed_unit_kinds values ('input', 'input', true), ('output', 'output', true);
    create table marts.fct_provider_usage as from (values
        ('usage_report', date '2026-07-01', 'input', 1500), ('usage_report', date '2026-07-01', 'output', 500),
        ('usage_report', date '2026-07-01', 'page', 7)
    ) as t (source_name, event_date, unit_kind_type, quantity_units);

    create table intermediate.int_billing__lines_rejected as
    from intermediate.int_billing__lines_classified where reject_reason is not null;

    create table marts.fct_invoice_lines as
    select source_name, billing_currency_code, billed_cost_in_billing_currency,
        case when billing_currency_code = 'USD' then billed_cost_in_billing_currency end as billed_cost_usd,
        true as is_bill, timestamptz '2026-07-01 00:00:00+00' as charge_period_start_at,
        'openai' as provider_name, 'acme' as billing_account_id, date '2026-07-01' as billing_period_start_date,
        timestamptz '2026-08-01 00:00:00+00' as billing_period_end_at
    from intermediate.int_billing__lines_classified where reject_reason is null;

    -- Calls of 0.254 + 0.002 = 0.256 and a bill of 20.5 + 0.02022672899: 20.26422672899 are charges.
    create table marts.fct_period_charges as from (values
        ('openai', 'acme', date '2026-07-01', 'rounding', cast(0.01 as decimal(38, 18))),
        ('openai', 'acme', date '2026-07-01', 'tax', cast(20.25422672899 as decimal(38, 18)))
    ) as t (provider_name, billing_account_id, billing_period_start_date, cause_type, charge_usd);
    create table marts.rpt_billing_periods as from (values
        ('openai', 'acme', date '2026-07-01', 'invoice', cast(0.256 as decimal(38, 18))),
        ('openai', null, date '2026-08-01', null, cast(0 as decimal(38, 18)))
    ) as t (provider_name, billing_account_id, billing_period_start_date, document_type, ledger_usd);
    create table marts.rpt_reconciliation as from (values
        ('openai', 'acme', date '2026-07-01', 'calls_to_bill', 2),
        ('openai', 'acme', date '2026-07-01', 'calls_to_bill', 1),
        ('openai', 'acme', date '2026-07-01', 'cost_report_to_invoice', 3)
    ) as t (provider_name, billing_account_id, billing_period_start_date, layer_type, line_count);

    -- Exported: calls of 0.254 and 0.002, 84 less 0.25 of unused capacity: 84.006 in all. The first line bills 20.5 for
    -- calls, the other is itself; 20.5 less 84.006 is the cause.
    create table marts.dim_commitments as select 'pool' as commitment_id, 'openai' as provider_name;
    alter table marts.fct_capacity_hours add column idle_cost_usd decimal(28, 9);
    update marts.fct_capacity_hours set idle_cost_usd = cost_usd - used_cost_usd;
    alter table marts.fct_capacity_hours add column unallocated_cost_usd decimal(28, 9) default 0;
    alter table marts.fct_invoice_lines add column document_type varchar default 'invoice';
    alter table marts.fct_invoice_lines add column invoice_id varchar default 'july';
    alter table marts.fct_invoice_lines
        add column billing_period_start_at timestamptz default timestamptz '2026-07-01 00:00:00+00';
    alter table marts.fct_invoice_lines add column invoice_line_id varchar;
    update marts.fct_invoice_lines set invoice_line_id = case
        when billed_cost_usd > 1 then 'calls' when billed_cost_usd is not null then 'tax' else 'euro' end;
    create table marts.focus_cost_and_usage as
    select
        x_ChargeOrigin, 'openai' as ServiceProviderName, 'acme' as BillingAccountId,
        timestamptz '2026-07-01 00:00:00+00' as BillingPeriodStart, ChargePeriodStart, InvoiceId, InvoiceDetailId,
        cast(BilledCost as decimal(38, 18)) as BilledCost, cast(EffectiveCost as decimal(38, 18)) as EffectiveCost
    from (values
        ('calls', timestamptz '2026-07-01 00:00:00+00', 'july', 'calls', 20.5, 0.254),
        ('calls', timestamptz '2026-07-02 00:00:00+00', null, null, 0, 0.002),
        ('unused_capacity', timestamptz '2026-07-01 00:00:00+00', null, null, 0, 83.75),
        ('line', timestamptz '2026-07-01 00:00:00+00', 'july', 'tax', 0.02022672899, 0.02022672899),
        ('cause', timestamptz '2026-07-01 00:00:00+00', null, null, 0, -63.506)
    ) as t (x_ChargeOrigin, ChargePeriodStart, InvoiceId, InvoiceDetailId, BilledCost, EffectiveCost);

    -- The provider's reports of a day: 2,007 units, of which calls show 2,000, and 0.30 for calls of 0.254. Bought
    -- capacity and what is charged by the month are not compared by day.
    alter table marts.fct_provider_usage add column provider_name varchar default 'openai';
    alter table marts.fct_provider_usage add column billing_account_id varchar default 'acme';
    alter table marts.fct_invoice_lines add column driver_type varchar default 'calls';
    alter table marts.fct_invoice_lines
        add column charge_period_end_at timestamptz default timestamptz '2026-08-01 00:00:00+00';
    insert into marts.fct_invoice_lines by name
    select 'cost_report' as source_name, 'USD' as billing_currency_code, amount as billed_cost_in_billing_currency,
        amount as billed_cost_usd, false as is_bill, timestamptz '2026-07-01 00:00:00+00' as charge_period_start_at,
        timestamptz '2026-07-01 00:00:00+00' + to_days(days) as charge_period_end_at, 'openai' as provider_name,
        'acme' as billing_account_id, date '2026-07-01' as billing_period_start_date, 'cost_report' as document_type,
        driver as driver_type
    from (values (0.3, 'calls', 1), (110, 'commitment', 1), (9, 'calls', 31)) as t (amount, driver, days);
    insert into ops.landing_files values ('invoices', 'cost_report', date '2026-07-01', 3);
    insert into intermediate.int_billing__lines_delivered
    select source_name, billing_currency_code, billed_cost_usd
    from marts.fct_invoice_lines where document_type = 'cost_report';
    insert into intermediate.int_billing__lines_classified
    select *, null from intermediate.int_billing__lines_delivered where source_name = 'cost_report';
    create table marts.rpt_daily_reconciliation as
    select 'openai' as provider_name, 'acme' as billing_account_id, date '2026-07-01' as event_date, *
    from (values
        ('calls_to_usage_report', null, 2000, 0, 0.254), ('calls_to_usage_report', 'missing_telemetry', 7, 0, 0.04),
        ('usage_report_to_cost_report', null, 2007, 1, 0.294),
        ('usage_report_to_cost_report', 'price_difference', 2007, 0, 0.006)
    ) as t (layer_type, cause_type, quantity_units, line_count, reported_cost_usd);
"""

# Per gate, what breaks the ledger, and how many things then do not balance (a day and the window as a whole are two).
BREACHES: list[tuple[str, str, int]] = [
    (USAGE_ROWS, "delete from marts.fct_calls where call_id = 'a'", 2),
    (USAGE_ROWS, "delete from intermediate.int_usage__calls_rejected", 2),
    (USAGE_ROWS, "insert into ops.landing_files values ('usage', 'lost', date '2026-07-02', 4)", 2),
    (USAGE_ROWS, "update marts.fct_calls set event_date = date '2026-07-02' where call_id = 'a'", 2),
    (TOKENS, "update marts.fct_calls set reasoning_tokens = 4 where call_id = 'c'", 2),
    (TOKENS, "update marts.fct_calls set cache_read_tokens = 29 where call_id = 'a'", 2),
    (TOKENS, "update marts.fct_calls set other_units = null where call_id = 'b'", 2),
    (
        TOKENS,
        (
            "update marts.fct_calls set other_units = map {'output_image': 6.000, 'input_video': 20.000}"
            " where call_id = 'b'"
        ),
        2,
    ),
    (TOKENS, "update reference.seed_unit_kinds set is_token = true, direction_type = 'input'", 2),
    (TOKENS, "delete from intermediate.int_usage__calls_rejected", 2),
    (FREE_UNITS, "update marts.fct_calls set free_units = null", 2),
    (FREE_UNITS, "update marts.fct_calls set free_units = map {'page': 1.999} where call_id = 'b'", 2),
    (FREE_UNITS, "update marts.fct_calls set free_units = map {'image': 2.000} where call_id = 'b'", 2),
    (FREE_UNITS, "update intermediate.int_pricing__allowance_units set quantity_units = 1.999", 2),
    (FREE_UNITS, "update intermediate.int_pricing__allowance_units set allowance_units = 1.999", 1),
    # Two free pages more on the second day of the same month.
    (
        FREE_UNITS,
        """
        update marts.fct_calls set free_units = map {'page': 2.000} where call_id = 'c';
        insert into intermediate.int_pricing__allowance_units by name
        select * replace (date '2026-07-02' as event_date) from intermediate.int_pricing__allowance_units
        """,
        1,
    ),
    (CHARGES, "delete from marts.fct_call_charges where call_id = 'c' and unit_kind_type = 'output'", 2),
    (CHARGES, "update marts.fct_call_charges set contracted_cost_usd = 0.001000000000001 where call_id = 'a'", 2),
    (REPORT, "update marts.rpt_daily_spend set effective_cost_usd = effective_cost_usd + 0.000000000000001", 3),
    (REPORT, "delete from marts.rpt_daily_spend where event_date = date '2026-07-02'", 2),
    (REPORT, "update marts.rpt_daily_spend set call_count = 4 where event_date = date '2026-07-01'", 2),
    (DAILY, "delete from intermediate.int_allocation__daily_charges where unit_kind_type = 'input'", 2),
    (DAILY, "update intermediate.int_allocation__daily_charges set call_count = 2 where source_name = 'own'", 2),
    (
        DAILY,
        "update intermediate.int_allocation__daily_charges set effective_cost_usd = 0.26 where source_name = 'own'",
        2,
    ),
    # Both days of both sources.
    (DAILY, "update intermediate.int_allocation__daily_charges set source_name = 'own' where source_name = 'calls'", 4),
    (DAILY, "update marts.fct_calls set list_cost_usd = 0.0031 where call_id = 'c'", 2),
    (STATED, "delete from marts.rpt_reported_costs", 2),
    (STATED, "update marts.rpt_reported_costs set reported_cost_usd = 0.012500000000001", 2),
    (STATED, "update marts.rpt_reported_costs set difference_usd = 0.252", 2),
    (STATED, "update marts.fct_calls set reported_cost_usd = 0 where call_id = 'c'", 2),
    (ALLOCATIONS, "delete from marts.fct_cost_allocations where cause_type = 'rounding'", 1),
    (ALLOCATIONS, "insert into marts.fct_cost_allocations from marts.fct_cost_allocations where cause_type is null", 1),
    (
        ALLOCATIONS,
        "update marts.fct_cost_allocations set allocated_cost_usd = 31 where use_case_id = 'search'",
        2,
    ),
    (ALLOCATIONS, "update reference.seed_other_costs set period_month = date '2026-08-01'", 2),
    (ALLOCATIONS, "delete from marts.rpt_daily_spend where event_date = date '2026-07-02'", 1),
    (INSTANCES, "update marts.fct_use_case_instances set call_count = 2", 2),
    (INSTANCES, "update marts.fct_use_case_instances set priced_cost_usd = 0.004", 2),
    (
        CAPACITY,
        "update marts.fct_capacity_hours set cost_usd = 3.499998 where hour_at::varchar like '%05:00:00%'",
        1,
    ),
    (CAPACITY, "delete from marts.fct_capacity_hours where hour_at::varchar like '%05:00:00%'", 1),
    (CAPACITY, "update marts.fct_capacity_hours set overage_cost_usd = 0", 1),
    (CAPACITY, "update marts.fct_calls set deployment_id = 'another' where call_id = 'p'", 2),
    (CAPACITY, "update marts.fct_calls set effective_cost_usd = 0.26 where call_id = 'p'", 1),
    (SPILLOVER, "update marts.fct_capacity_hours set spillover_call_count = 1 where spillover_call_count = 2", 2),
    (SPILLOVER, "update marts.fct_capacity_hours set spillover_tokens = 4200 where spillover_tokens = 2100", 2),
    (SPILLOVER, "delete from marts.fct_capacity_hours", 2),
    (SPILLOVER, "delete from intermediate.int_capacity__call_work where call_id = 'c-1'", 2),
    (SPILLOVER, "insert into intermediate.int_usage__calls values (date '2026-07-02', true)", 2),
    (SPILLOVER, "update marts.fct_capacity_hours set event_date = date '2026-07-02' where spillover_call_count = 2", 2),
    (INVOICES, "update marts.fct_invoice_lines set billed_cost_usd = 20.49 where billed_cost_usd = 20.5", 1),
    (INVOICES, "delete from marts.fct_invoice_lines where billed_cost_usd = 0.02022672899", 1),
    (INVOICES, "delete from marts.fct_invoice_lines where billing_currency_code = 'EUR'", 1),
    (INVOICES, "update marts.fct_invoice_lines set source_name = 'nobody' where billed_cost_usd = 20.5", 2),
    (INVOICES, "delete from intermediate.int_billing__lines_rejected", 1),
    (INVOICES, "update intermediate.int_billing__lines_rejected set billed_cost_in_billing_currency = 19.49", 1),
    (CONVERSION, "update marts.fct_invoice_lines set billed_cost_usd = 20.50002 where billed_cost_usd = 20.5", 1),
    # A rate that began by then, and a line that is not converted.
    (CONVERSION, "update reference.seed_exchange_rates set valid_from_date = date '2026-07-01'", 1),
    # 7 EUR at 1.08 are 7.56; at the rate of the day before they would have been something else.
    (
        CONVERSION,
        """
        update reference.seed_exchange_rates set valid_from_date = date '2026-07-01';
        update marts.fct_invoice_lines set billed_cost_usd = 7.55 where billing_currency_code = 'EUR'
        """,
        1,
    ),
    (CONVERSION, "update marts.fct_invoice_lines set billed_cost_usd = 7.56 where billing_currency_code = 'EUR'", 1),
    (REPORTS, "update marts.fct_provider_usage set quantity_units = 1499 where unit_kind_type = 'input'", 1),
    (REPORTS, "delete from marts.fct_provider_usage where unit_kind_type = 'output'", 1),
    (REPORTS, "delete from intermediate.int_billing__reports_rejected", 1),
    (REPORTS, "update marts.fct_provider_usage set event_date = date '2026-07-02'", 2),
    (REPORTS, "insert into ops.landing_files values ('reports', 'lost', date '2026-07-02', 1)", 1),
    (RECONCILIATION, "delete from marts.fct_period_charges where cause_type = 'rounding'", 1),
    (RECONCILIATION, "update marts.fct_period_charges set charge_usd = 0.011 where cause_type = 'rounding'", 1),
    (RECONCILIATION, "update marts.fct_period_charges set billing_period_start_date = date '2026-08-01'", 2),
    (RECONCILIATION, "update marts.rpt_reconciliation set line_count = 2 where line_count = 1", 1),
    (RECONCILIATION, "delete from marts.rpt_billing_periods where document_type = 'invoice'", 2),
    # A call in no period, or in two, is wrong in every period of its provider.
    (RECONCILIATION, "update marts.rpt_billing_periods set ledger_usd = 0.002 where document_type is null", 2),
    (RECONCILIATION, "update marts.rpt_daily_spend set effective_cost_usd = 0.255 where call_count = 3", 2),
    (RECONCILIATION, "update marts.fct_invoice_lines set is_bill = false", 1),
    (RECONCILIATION, "update marts.fct_invoice_lines set provider_name = 'azure'", 2),
    # A row that staging lost: of both currencies of the source it is not known which lacks it.
    (INVOICES, "update ops.landing_files set row_count = 5 where source_name = 'bill'", 2),
    (INVOICES, "insert into ops.landing_files values ('invoices', 'lost', date '2026-07-01', 1)", 1),
    (FOCUS_USAGE, "delete from marts.focus_cost_and_usage where ChargePeriodStart > timestamptz '2026-07-01'", 1),
    (FOCUS_USAGE, "update marts.focus_cost_and_usage set EffectiveCost = EffectiveCost + 1e-15", 2),
    (FOCUS_USAGE, "delete from marts.focus_cost_and_usage where x_ChargeOrigin = 'unused_capacity'", 1),
    # Two providers' days instead of one's: neither has what the other lost.
    (FOCUS_USAGE, "update marts.focus_cost_and_usage set ServiceProviderName = 'azure'", 4),
    (FOCUS_LINES, "delete from marts.focus_cost_and_usage where x_ChargeOrigin = 'line'", 1),
    (FOCUS_LINES, "update marts.focus_cost_and_usage set BilledCost = 20.49 where BilledCost = 20.5", 1),
    (FOCUS_LINES, "insert into marts.focus_cost_and_usage from marts.focus_cost_and_usage", 2),
    (FOCUS_LINES, "update marts.focus_cost_and_usage set InvoiceDetailId = 'nobody' where InvoiceDetailId = 'tax'", 2),
    (FOCUS_BILLS, "delete from marts.focus_cost_and_usage where x_ChargeOrigin = 'cause'", 1),
    (FOCUS_BILLS, "update marts.focus_cost_and_usage set EffectiveCost = 0.255 where EffectiveCost = 0.254", 1),
    (FOCUS_BILLS, "update marts.focus_cost_and_usage set BillingAccountId = 'other'", 1),
    # The day, and every provider.
    (DAYS, "delete from marts.rpt_daily_reconciliation where cause_type = 'missing_telemetry'", 2),
    (DAYS, "delete from marts.rpt_daily_reconciliation where cause_type = 'price_difference'", 2),
    (DAYS, "update marts.rpt_daily_reconciliation set line_count = 1", 2),
    # Neither day is the other's.
    (DAYS, "update marts.rpt_daily_reconciliation set event_date = date '2026-07-02'", 2),
    (DAYS, "delete from marts.fct_provider_usage", 2),
    (DAYS, "delete from marts.fct_invoice_lines where driver_type = 'calls'", 2),
]


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for schema in ("ops", "reference", "staging", "intermediate", "marts"):
            connection.execute(f"create schema {schema}")
        connection.execute(LEDGER)
        yield connection


def _judge(con: duckdb.DuckDBPyConnection, name: str, window: tuple[date, date] = EVERYTHING) -> GateResult:
    [gate] = [item for item in LEDGER_GATES if item.gate.gate_name == name]
    return judge(con, gate.gate, gate.sql, {"min_date": window[0], "max_date": window[1]}, run=RUN)


@pytest.mark.parametrize("gate", LEDGER_GATES, ids=lambda item: item.gate.gate_name)
def test_gate_passes_on_a_ledger_that_balances(con: duckdb.DuckDBPyConnection, gate: object):
    result = _judge(con, gate.gate.gate_name)  # type: ignore[attr-defined]
    assert (result.is_passed, result.violation_count) == (True, 0), result.sample_json
    assert result.evaluated_count > 0


@pytest.mark.parametrize(("name", "breach", "violations"), BREACHES)
def test_gate_fails_on_a_ledger_that_does_not_balance(
    con: duckdb.DuckDBPyConnection, name: str, breach: str, violations: int
):
    con.execute(breach)
    result = _judge(con, name)
    assert (result.is_passed, result.violation_count) == (False, violations), result.sample_json


@pytest.mark.parametrize(
    ("name", "breach_of_2_july"),
    [
        (USAGE_ROWS, "delete from marts.fct_calls where call_id = 'c'"),
        (TOKENS, "update marts.fct_calls set reasoning_tokens = 4 where call_id = 'c'"),
        (CHARGES, "delete from marts.fct_call_charges where call_id = 'c' and unit_kind_type = 'output'"),
        (REPORT, "delete from marts.rpt_daily_spend where event_date = date '2026-07-02'"),
        (DAILY, "delete from intermediate.int_allocation__daily_charges where event_date = date '2026-07-02'"),
    ],
)
def test_gate_judges_its_window_only(con: duckdb.DuckDBPyConnection, name: str, breach_of_2_july: str):
    con.execute(breach_of_2_july)
    assert _judge(con, name, (date(2026, 7, 1), date(2026, 7, 1))).is_passed
    assert not _judge(con, name, (date(2026, 7, 2), date(2026, 7, 2))).is_passed


@pytest.mark.parametrize("name", [CAPACITY, INVOICES, RECONCILIATION])
def test_gate_with_nothing_to_judge_fails(con: duckdb.DuckDBPyConnection, name: str):
    for table in ("marts.fct_capacity_hours", "marts.fct_invoice_lines", "intermediate.int_billing__lines_classified",
                  "intermediate.int_billing__lines_rejected", "intermediate.int_billing__lines_delivered",
                  "marts.rpt_billing_periods", "marts.rpt_reconciliation", "marts.fct_period_charges",
                  "marts.fct_calls", "ops.landing_files"):  # fmt: skip
        con.execute(f"delete from {table}")
    result = _judge(con, name)
    assert (result.is_passed, result.evaluated_count) == (False, 0)


def test_every_gate_has_its_file_and_every_file_its_gate():
    assert {path.stem for path in GATES_DIR.glob("*.sql")} == {item.gate.gate_name for item in LEDGER_GATES}


def test_every_gate_is_shown_to_fail():
    assert {name for name, *_ in BREACHES} == {item.gate.gate_name for item in LEDGER_GATES}
