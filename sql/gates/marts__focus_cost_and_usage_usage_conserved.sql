-- Per provider and day: the export's calls cost what the spend report says, and its unused capacity what stood idle or
-- was on no deployment, to the last digit.
-- The columns are FOCUS's own.
-- noqa: disable=CP02
with

exported as (
    select
        ServiceProviderName as provider_name,
        cast(ChargePeriodStart as date) as event_date,
        sum(EffectiveCost) as effective_cost_usd
    from marts.focus_cost_and_usage
    where
        x_ChargeOrigin in ('calls', 'unused_capacity')
        and cast(ChargePeriodStart as date) between $min_date and $max_date
    group by all
),

ledger_rows as (
    select
        provider_name,
        event_date,
        coalesce(effective_cost_usd, 0) as effective_cost_usd
    from marts.rpt_daily_spend
    where event_date between $min_date and $max_date
    union all
    select
        commitments.provider_name,
        hours.event_date,
        hours.idle_cost_usd + hours.unallocated_cost_usd as effective_cost_usd
    from marts.fct_capacity_hours as hours
    inner join marts.dim_commitments as commitments using (commitment_id)
    where hours.event_date between $min_date and $max_date
),

ledger as (
    select
        provider_name,
        event_date,
        sum(effective_cost_usd) as effective_cost_usd
    from ledger_rows
    group by all
)

select
    coalesce(ledger.provider_name, exported.provider_name) as provider_name,
    coalesce(ledger.event_date, exported.event_date) as event_date,
    ledger.effective_cost_usd,
    exported.effective_cost_usd as exported_effective_cost_usd,
    1 as evaluated_count,
    cast(
        coalesce(ledger.effective_cost_usd, 0) <> coalesce(exported.effective_cost_usd, 0) as integer
    ) as violation_count
from ledger
full join exported
    on
        ledger.provider_name is not distinct from exported.provider_name
        and ledger.event_date = exported.event_date
order by provider_name, event_date
