-- Per source and currency: what the landed invoices billed is what the lines that count and the superseded ones bill,
-- to the last digit; and what counts is in the mart. Per source, every landed row is one of these lines.
with

delivered as (
    select
        source_name,
        sum(row_count) as line_count
    from ops.landing_files
    where feed = 'invoices'
    group by all
),

landed as (
    select
        source_name,
        coalesce(billing_currency_code, 'unknown') as billing_currency_code,
        count(*) as line_count,
        sum(billed_cost_in_billing_currency) as billed_cost
    from intermediate.int_billing__lines_delivered
    group by all
),

kept as (
    select
        source_name,
        coalesce(billing_currency_code, 'unknown') as billing_currency_code,
        count(*) as line_count,
        sum(billed_cost_in_billing_currency) as billed_cost
    from intermediate.int_billing__lines_classified
    where reject_reason is null
    group by all
),

rejected as (
    select
        source_name,
        coalesce(billing_currency_code, 'unknown') as billing_currency_code,
        count(*) as line_count,
        sum(billed_cost_in_billing_currency) as billed_cost
    from intermediate.int_billing__lines_rejected
    group by all
),

lines as (
    select
        source_name,
        coalesce(billing_currency_code, 'unknown') as billing_currency_code,
        count(*) as line_count,
        sum(billed_cost_usd) as billed_cost_usd
    from marts.fct_invoice_lines
    group by all
),

compared as (
    select
        source_name,
        billing_currency_code,
        coalesce(landed.line_count, 0) as landed_line_count,
        coalesce(kept.line_count, 0) as kept_line_count,
        coalesce(rejected.line_count, 0) as rejected_line_count,
        coalesce(lines.line_count, 0) as ledger_line_count,
        coalesce(landed.billed_cost, 0) as landed_billed_cost,
        coalesce(kept.billed_cost, 0) as kept_billed_cost,
        coalesce(rejected.billed_cost, 0) as rejected_billed_cost,
        coalesce(lines.billed_cost_usd, 0) as ledger_billed_cost_usd
    from landed
    full join kept using (source_name, billing_currency_code)
    full join rejected using (source_name, billing_currency_code)
    full join lines using (source_name, billing_currency_code)
),

balanced as (
    select
        compared.*,
        delivered.source_name as delivered_source_name,
        delivered.line_count as delivered_line_count,
        sum(compared.landed_line_count) over (partition by compared.source_name) as landed_line_count_of_source
    from compared
    full join delivered using (source_name)
)

select
    *,
    1 as evaluated_count,
    cast(
        landed_line_count is distinct from kept_line_count + rejected_line_count
        or kept_line_count is distinct from ledger_line_count
        or landed_billed_cost is distinct from kept_billed_cost + rejected_billed_cost
        or (billing_currency_code = 'USD' and kept_billed_cost is distinct from ledger_billed_cost_usd)
        or delivered_line_count is distinct from landed_line_count_of_source
        as integer
    ) as violation_count
from balanced
order by source_name, billing_currency_code
