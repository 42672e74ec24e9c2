-- Per provider and billing period: the components bill what the lines of the bill do, and hold the calls, the unpriced
-- ones and the contracted cost that the spend report has for the days of the period, each once.
with

lines as (
    select
        provider_name,
        billing_period_start_date,
        min(cast(billing_period_end_at as date)) as billing_period_end_date,
        count(*) as line_count,
        sum(billed_cost_usd) as billed_cost_usd
    from marts.fct_invoice_lines
    where is_bill
    group by all
),

spend as (
    select
        lines.provider_name,
        lines.billing_period_start_date,
        sum(reported.call_count) as call_count,
        sum(reported.unpriced_call_count) as unpriced_call_count,
        sum(reported.contracted_cost_usd) as ledger_cost_usd
    from lines
    inner join marts.rpt_daily_spend as reported
        on
            lines.provider_name = reported.provider_name
            and lines.billing_period_start_date <= reported.event_date
            and lines.billing_period_end_date > reported.event_date
    group by all
),

components as (
    select
        provider_name,
        billing_period_start_date,
        sum(line_count) as line_count,
        sum(billed_cost_usd) as billed_cost_usd,
        sum(call_count) as call_count,
        sum(unpriced_call_count) as unpriced_call_count,
        sum(case when driver_type = 'calls' then ledger_cost_usd end) as ledger_cost_usd
    from marts.rpt_invoice_reconciliation
    group by all
)

select
    provider_name,
    billing_period_start_date,
    lines.line_count as invoice_line_count,
    components.line_count as component_line_count,
    lines.billed_cost_usd as invoice_billed_cost_usd,
    components.billed_cost_usd as component_billed_cost_usd,
    spend.call_count as ledger_call_count,
    components.call_count as component_call_count,
    spend.unpriced_call_count as ledger_unpriced_call_count,
    components.unpriced_call_count as component_unpriced_call_count,
    spend.ledger_cost_usd,
    components.ledger_cost_usd as component_ledger_cost_usd,
    1 as evaluated_count,
    cast(
        lines.line_count is distinct from components.line_count
        or coalesce(lines.billed_cost_usd, 0) is distinct from coalesce(components.billed_cost_usd, 0)
        or spend.call_count is distinct from components.call_count
        or spend.unpriced_call_count is distinct from components.unpriced_call_count
        or spend.ledger_cost_usd is distinct from components.ledger_cost_usd
        as integer
    ) as violation_count
from lines
full join components using (provider_name, billing_period_start_date)
left join spend using (provider_name, billing_period_start_date)
order by provider_name, billing_period_start_date
