-- Per source and currency: how many lines are not what the rate of exchange of the charge's first day makes of them.
-- The product is worked out anew from eight decimals of amount and rate; 0.00001 USD is allowed for the others.
with

lines as (
    select
        source_name,
        coalesce(billing_currency_code, 'unknown') as billing_currency_code,
        billed_cost_in_billing_currency,
        billed_cost_usd,
        case
            when billing_currency_code = 'USD' then 1
            else (
                select max_by(rates.usd_per_currency_unit, rates.valid_from_date)
                from reference.seed_exchange_rates as rates
                where
                    rates.pricing_currency = invoice_lines.billing_currency_code
                    and rates.valid_from_date <= cast(invoice_lines.charge_period_start_at as date)
            )
        end as usd_per_currency_unit
    from marts.fct_invoice_lines as invoice_lines
),

compared as (
    select
        *,
        cast(billed_cost_in_billing_currency as decimal(22, 8)) * cast(usd_per_currency_unit as decimal(16, 8))
            as expected_cost_usd
    from lines
)

select
    source_name,
    billing_currency_code,
    sum(billed_cost_in_billing_currency) as billed_cost_in_billing_currency,
    sum(billed_cost_usd) as billed_cost_usd,
    sum(expected_cost_usd) as expected_cost_usd,
    count(*) as evaluated_count,
    sum(
        case
            when (billed_cost_usd is null) <> (expected_cost_usd is null) then 1
            when abs(billed_cost_usd - expected_cost_usd) > 0.00001 then 1
            else 0
        end
    ) as violation_count
from compared
group by source_name, billing_currency_code
order by source_name, billing_currency_code
