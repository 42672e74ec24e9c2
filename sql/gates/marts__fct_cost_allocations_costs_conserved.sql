-- Per billing period, provider and account, and for everything: what is allocated or named as unallocated is the calls'
-- effective cost, the charges of the bill, and the declared costs, each once and to the last digit.
with

sources as (
    select
        provider_name,
        billing_account_id,
        billing_period_start_date,
        'charges' as part_type,
        charge_usd as cost_usd
    from marts.fct_period_charges
    union all
    select
        vendor_name as provider_name,
        null as billing_account_id,
        period_month as billing_period_start_date,
        'declared' as part_type,
        amount_usd as cost_usd
    from reference.seed_other_costs
),

expected as (
    select
        provider_name,
        billing_account_id,
        billing_period_start_date,
        part_type,
        sum(cost_usd) as cost_usd
    from sources
    group by all
    union all
    -- Calls name no period: whatever account and period they fall in, a provider's add up to what the ledger has.
    select
        provider_name,
        null as billing_account_id,
        null as billing_period_start_date,
        'calls' as part_type,
        coalesce(sum(effective_cost_usd), 0) as cost_usd
    from marts.rpt_daily_spend
    group by all
),

allocated as (
    select
        provider_name,
        case when part_type <> 'calls' then billing_account_id end as billing_account_id,
        case when part_type <> 'calls' then billing_period_start_date end as billing_period_start_date,
        part_type,
        sum(allocated_cost_usd) as cost_usd
    from (
        select
            *,
            case
                when cause_type = 'other_cost' then 'declared'
                when cause_type is null then 'calls'
                else 'charges'
            end as part_type
        from marts.fct_cost_allocations
    ) as parts
    group by all
)

select
    coalesce(expected.provider_name, allocated.provider_name) as provider_name,
    coalesce(expected.billing_account_id, allocated.billing_account_id) as billing_account_id,
    coalesce(expected.billing_period_start_date, allocated.billing_period_start_date) as billing_period_start_date,
    coalesce(expected.part_type, allocated.part_type) as part_type,
    expected.cost_usd,
    allocated.cost_usd as allocated_cost_usd,
    1 as evaluated_count,
    cast(coalesce(expected.cost_usd, 0) <> coalesce(allocated.cost_usd, 0) as integer) as violation_count
from expected
full join allocated
    on
        expected.part_type = allocated.part_type
        and expected.provider_name is not distinct from allocated.provider_name
        and expected.billing_account_id is not distinct from allocated.billing_account_id
        and expected.billing_period_start_date is not distinct from allocated.billing_period_start_date
order by provider_name, billing_account_id, billing_period_start_date, part_type
