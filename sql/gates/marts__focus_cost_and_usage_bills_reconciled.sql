-- Per provider, billing account and billing period with a bill: the effective costs of all charges, calls and named
-- causes, add up to the bill, to the last digit. A bill without any amount in USD says nothing.
-- The columns are FOCUS's own.
-- noqa: disable=CP02
with

bills as (
    select
        provider_name,
        coalesce(billing_account_id, 'unknown') as billing_account_id,
        billing_period_start_at,
        sum(billed_cost_usd) as billed_cost_usd
    from marts.fct_invoice_lines
    where is_bill
    group by all
),

charges as (
    select
        ServiceProviderName as provider_name,
        BillingAccountId as billing_account_id,
        BillingPeriodStart as billing_period_start_at,
        sum(EffectiveCost) as effective_cost_usd
    from marts.focus_cost_and_usage
    group by all
)

select
    bills.*,
    charges.effective_cost_usd,
    1 as evaluated_count,
    cast(
        bills.billed_cost_usd is not null
        and bills.billed_cost_usd is distinct from charges.effective_cost_usd
        as integer
    ) as violation_count
from bills
left join charges using (provider_name, billing_account_id, billing_period_start_at)
order by bills.provider_name, bills.billing_account_id, bills.billing_period_start_at
