-- Per source: what the invoices billed when they landed is what the ledger's lines say, to the last digit.
with

landed as (
    select
        source_name,
        count(*) as line_count,
        sum(billed_cost_in_billing_currency) as billed_cost
    from intermediate.int_billing__lines_classified
    group by all
),

replaced as (
    select
        source_name,
        count(*) as line_count
    from staging.stg_focus_files__charges
    group by all
),

lines as (
    select
        source_name,
        count(*) as line_count,
        sum(billed_cost_usd) as billed_cost_usd,
        count(unconverted_reason_type) as unconverted_line_count
    from marts.fct_invoice_lines
    group by all
)

select
    source_name,
    landed.line_count as landed_line_count,
    lines.line_count as ledger_line_count,
    landed.billed_cost as landed_billed_cost,
    lines.billed_cost_usd as ledger_billed_cost_usd,
    1 as evaluated_count,
    cast(
        landed.line_count is distinct from lines.line_count
        or replaced.line_count < lines.line_count
        or (lines.unconverted_line_count = 0 and landed.billed_cost is distinct from lines.billed_cost_usd)
        as integer
    ) as violation_count
from landed
full join lines using (source_name)
full join replaced using (source_name)
order by source_name
