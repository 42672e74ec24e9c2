-- Per invoice and line of it: the charges that name it are billed what the line bills, to the last digit; no charge
-- names a line that is on no invoice. A line that is on none yet, or has no amount in USD, is named by no charge.
-- The columns are FOCUS's own.
-- noqa: disable=CP02
with

lines as (
    select
        case when document_type = 'invoice' then invoice_id end as invoice_id,
        invoice_line_id,
        case when document_type = 'invoice' and invoice_id is not null then billed_cost_usd end as billed_cost_usd
    from marts.fct_invoice_lines
),

charges as (
    select
        InvoiceId as invoice_id,
        InvoiceDetailId as invoice_line_id,
        sum(BilledCost) as billed_cost_usd
    from marts.focus_cost_and_usage
    where InvoiceId is not null
    group by all
)

select
    coalesce(lines.invoice_id, charges.invoice_id) as invoice_id,
    coalesce(lines.invoice_line_id, charges.invoice_line_id) as invoice_line_id,
    lines.billed_cost_usd,
    charges.billed_cost_usd as charged_cost_usd,
    1 as evaluated_count,
    cast(lines.billed_cost_usd is distinct from charges.billed_cost_usd as integer) as violation_count
from lines
full join charges
    on
        lines.invoice_id is not distinct from charges.invoice_id
        and lines.invoice_line_id is not distinct from charges.invoice_line_id
order by invoice_id, invoice_line_id
