with

lines as (
    select * from {{ ref('fct_invoice_lines') }}
),

periods as (
    select
        provider_name,
        billing_period_start_date,
        min(cast(billing_period_end_at as date)) as billing_period_end_date
    from lines
    group by provider_name, billing_period_start_date
),

ledger as (
    select
        periods.provider_name,
        periods.billing_period_start_date,
        cast(sum(spend.contracted_cost_usd) as decimal(38, 15)) as ledger_cost_usd
    from periods
    inner join {{ ref('rpt_daily_spend') }} as spend
        on
            periods.provider_name = spend.provider_name
            and periods.billing_period_start_date <= spend.event_date
            and periods.billing_period_end_date > spend.event_date
    group by periods.provider_name, periods.billing_period_start_date
),

commitments as (
    select
        periods.provider_name,
        periods.billing_period_start_date,
        cast(sum(hours.cost_usd) as decimal(38, 15)) as ledger_cost_usd
    from periods
    inner join {{ ref('dim_commitments') }} as commitments on periods.provider_name = commitments.provider_name
    inner join {{ ref('rpt_capacity_utilization') }} as hours
        on
            commitments.commitment_id = hours.commitment_id
            and periods.billing_period_start_date <= hours.event_date
            and periods.billing_period_end_date > hours.event_date
    group by periods.provider_name, periods.billing_period_start_date
),

billed as (
    select
        provider_name,
        billing_period_start_date,
        driver_type,
        case when driver_type = 'other' then charge_description else driver_type end as component_name,
        cast(sum(billed_cost_usd) as decimal(38, 15)) as billed_cost_usd,
        count(*) as line_count
    from lines
    group by
        provider_name,
        billing_period_start_date,
        driver_type,
        case when driver_type = 'other' then charge_description else driver_type end
),

final as (
    select
        billed.provider_name,
        billed.component_name,
        billed.driver_type,
        cast(billed.line_count as bigint) as line_count,
        billed.billed_cost_usd,
        case
            when billed.driver_type = 'calls' then ledger.ledger_cost_usd
            when billed.driver_type = 'commitment' then commitments.ledger_cost_usd
        end as ledger_cost_usd,
        cast(billed.billed_cost_usd - case
            when billed.driver_type = 'calls' then ledger.ledger_cost_usd
            when billed.driver_type = 'commitment' then commitments.ledger_cost_usd
        end as decimal(38, 15)) as difference_usd,
        billed.billing_period_start_date
    from billed
    left join ledger
        on
            billed.provider_name = ledger.provider_name
            and billed.billing_period_start_date = ledger.billing_period_start_date
    left join commitments
        on
            billed.provider_name = commitments.provider_name
            and billed.billing_period_start_date = commitments.billing_period_start_date
)

select * from final
