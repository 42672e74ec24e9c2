-- Per billing period with a bill: the calls' effective cost and the charges are the bill's lines, to the last digit,
-- and each line is counted once. Per provider, over its periods: every call's cost is in one of them.
with

lines as (
    select
        provider_name,
        coalesce(billing_account_id, '') as billing_account_id,
        billing_period_start_date,
        count(*) as line_count,
        coalesce(sum(billed_cost_usd), 0) as billed_cost_usd
    from marts.fct_invoice_lines
    where is_bill
    group by all
),

charges as (
    select
        provider_name,
        coalesce(billing_account_id, '') as billing_account_id,
        billing_period_start_date,
        sum(charge_usd) as charge_usd
    from marts.fct_period_charges
    group by all
),

counted as (
    select
        provider_name,
        coalesce(billing_account_id, '') as billing_account_id,
        billing_period_start_date,
        sum(line_count) as line_count
    from marts.rpt_reconciliation
    where layer_type = 'calls_to_bill'
    group by all
),

spent as (
    select
        provider_name,
        coalesce(sum(effective_cost_usd), 0) as effective_cost_usd
    from marts.rpt_daily_spend
    group by all
),

periods as (
    select
        provider_name,
        coalesce(billing_account_id, '') as billing_account_id,
        billing_period_start_date,
        document_type,
        ledger_usd,
        sum(ledger_usd) over (partition by provider_name) as provider_ledger_usd
    from marts.rpt_billing_periods
),

compared as (
    select
        provider_name,
        billing_account_id,
        billing_period_start_date,
        periods.document_type,
        periods.ledger_usd,
        periods.provider_ledger_usd,
        lines.line_count as invoice_line_count,
        counted.line_count as counted_line_count,
        lines.billed_cost_usd as invoice_usd,
        coalesce(charges.charge_usd, 0) as charge_usd
    from periods
    full join lines using (provider_name, billing_account_id, billing_period_start_date)
    full join charges using (provider_name, billing_account_id, billing_period_start_date)
    full join counted using (provider_name, billing_account_id, billing_period_start_date)
)

select
    compared.*,
    spent.effective_cost_usd as provider_effective_cost_usd,
    1 as evaluated_count,
    cast(
        (compared.document_type is not null) is distinct from (compared.invoice_usd is not null)
        or (
            compared.invoice_usd is not null
            and compared.invoice_usd is distinct from compared.ledger_usd + compared.charge_usd
        )
        or (compared.invoice_usd is null and compared.charge_usd <> 0)
        or compared.invoice_line_count is distinct from compared.counted_line_count
        or coalesce(compared.provider_ledger_usd, 0) is distinct from coalesce(spent.effective_cost_usd, 0)
        as integer
    ) as violation_count
from compared
left join spent on compared.provider_name = spent.provider_name
order by compared.provider_name, compared.billing_account_id, compared.billing_period_start_date
