-- Per provider, account and day: the steps from the calls to the usage report are its units, and the steps to the cost
-- report are its amount without bought capacity, to the last digit, each line once; and so they are in all.
with

usage_reports as (
    select
        provider_name,
        coalesce(billing_account_id, '') as billing_account_id,
        event_date,
        sum(quantity_units) as quantity_units
    from marts.fct_provider_usage
    group by all
),

cost_reports as (
    select
        provider_name,
        coalesce(billing_account_id, '') as billing_account_id,
        cast(charge_period_start_at as date) as event_date,
        count(*) as line_count,
        sum(billed_cost_usd) as billed_cost_usd
    from marts.fct_invoice_lines
    where
        document_type = 'cost_report'
        and driver_type <> 'commitment'
        and billed_cost_usd is not null
        and charge_period_end_at <= charge_period_start_at + interval '1' day
    group by all
),

steps as (
    select
        provider_name,
        coalesce(billing_account_id, '') as billing_account_id,
        event_date,
        sum(case when layer_type = 'calls_to_usage_report' then quantity_units else 0 end) as quantity_units,
        sum(line_count) as line_count,
        coalesce(
            sum(case when layer_type <> 'calls_to_usage_report' then reported_cost_usd end), 0
        ) as reported_cost_usd
    from marts.rpt_daily_reconciliation
    group by all
),

days as (
    select
        provider_name,
        billing_account_id,
        event_date,
        coalesce(usage_reports.quantity_units, 0) as report_units,
        coalesce(steps.quantity_units, 0) as step_units,
        coalesce(cost_reports.line_count, 0) as report_line_count,
        coalesce(steps.line_count, 0) as step_line_count,
        coalesce(cost_reports.billed_cost_usd, 0) as report_usd,
        coalesce(steps.reported_cost_usd, 0) as step_usd
    from usage_reports
    full join cost_reports using (provider_name, billing_account_id, event_date)
    full join steps using (provider_name, billing_account_id, event_date)
),

compared as (
    select * from days
    union all
    select
        'every provider' as provider_name,
        null as billing_account_id,
        null as event_date,
        coalesce(sum(report_units), 0) as report_units,
        coalesce(sum(step_units), 0) as step_units,
        coalesce(sum(report_line_count), 0) as report_line_count,
        coalesce(sum(step_line_count), 0) as step_line_count,
        coalesce(sum(report_usd), 0) as report_usd,
        coalesce(sum(step_usd), 0) as step_usd
    from days
)

select
    *,
    1 as evaluated_count,
    cast(
        report_units <> step_units
        or report_line_count <> step_line_count
        or report_usd <> step_usd
        as integer
    ) as violation_count
from compared
order by event_date, provider_name, billing_account_id
