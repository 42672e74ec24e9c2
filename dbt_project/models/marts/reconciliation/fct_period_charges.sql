with

bill_lines as (
    select *
    from {{ ref('fct_invoice_lines') }}
    where is_bill
),

periods as (
    select *
    from {{ ref('int_reconciliation__periods') }}
    where document_type is not null
),

billed as (
    select
        provider_name,
        billing_account_id,
        billing_period_start_date,
        case when driver_type in ('calls', 'commitment') then driver_type else component_name end as component_name,
        driver_type,
        case driver_type when 'commitment' then 'capacity' when 'calls' then 'model_calls' else bom_layer_type end
            as bom_layer_type,
        case when driver_type not in ('calls', 'commitment') then tagged_use_case_id end as tagged_use_case_id,
        case when driver_type not in ('calls', 'commitment') then tagged_team_name end as tagged_team_name,
        sum(billed_cost_usd) as billed_usd,
        count(*) as line_count
    from bill_lines
    where billed_cost_usd is not null
    group by
        provider_name, billing_account_id, billing_period_start_date,
        case when driver_type in ('calls', 'commitment') then driver_type else component_name end,
        driver_type,
        case driver_type when 'commitment' then 'capacity' when 'calls' then 'model_calls' else bom_layer_type end,
        case when driver_type not in ('calls', 'commitment') then tagged_use_case_id end,
        case when driver_type not in ('calls', 'commitment') then tagged_team_name end
),

ledger as (
    select
        days.provider_name,
        days.paying_account_id as billing_account_id,
        days.billing_period_start_date,
        case charges.pricing_status_type when 'provisioned' then 'commitment' else 'calls' end as driver_type,
        cast(null as varchar) as commitment_id,
        'used' as cause_type,
        sum(charges.effective_cost_usd) as ledger_usd
    from {{ ref('int_allocation__daily_charges') }} as charges
    inner join {{ ref('int_reconciliation__day_periods') }} as days
        on {{ same_values('charges', 'days', ['provider_name', 'billing_account_id', 'event_date']) }}
    where charges.effective_cost_usd is not null
    group by
        days.provider_name, days.paying_account_id, days.billing_period_start_date,
        case charges.pricing_status_type when 'provisioned' then 'commitment' else 'calls' end
),

hours as (
    select
        commitments.provider_name,
        hours.commitment_id,
        hours.event_date,
        sum(hours.idle_cost_usd) as idle_cost_usd,
        sum(hours.unallocated_cost_usd) as unallocated_cost_usd
    from {{ ref('fct_capacity_hours') }} as hours
    inner join {{ ref('dim_commitments') }} as commitments on hours.commitment_id = commitments.commitment_id
    group by commitments.provider_name, hours.commitment_id, hours.event_date
),

unused as (
    select
        periods.provider_name,
        periods.billing_account_id,
        periods.billing_period_start_date,
        hours.commitment_id,
        sum(hours.idle_cost_usd) as idle_cost_usd,
        sum(hours.unallocated_cost_usd) as unallocated_cost_usd
    from periods
    inner join hours
        on
            periods.provider_name = hours.provider_name
            and periods.is_only_account
            and hours.event_date >= periods.billing_period_start_date
            and hours.event_date < periods.billing_period_end_date
    group by
        periods.provider_name, periods.billing_account_id, periods.billing_period_start_date, hours.commitment_id
),

counted as (
    select
        provider_name, billing_account_id, billing_period_start_date, driver_type, commitment_id, cause_type, ledger_usd
    from ledger
    union all
    select
        provider_name, billing_account_id, billing_period_start_date, 'commitment' as driver_type, commitment_id,
        'idle_capacity' as cause_type, idle_cost_usd as ledger_usd
    from unused
    union all
    select
        provider_name, billing_account_id, billing_period_start_date, 'commitment' as driver_type, commitment_id,
        'unallocated_capacity' as cause_type, unallocated_cost_usd as ledger_usd
    from unused
),

counted_sums as (
    select
        provider_name, billing_account_id, billing_period_start_date, driver_type, sum(ledger_usd) as ledger_usd
    from counted
    group by provider_name, billing_account_id, billing_period_start_date, driver_type
),

-- What is billed for calls and commitments beyond what the ledger has of them.
differences as (
    select
        coalesce(billed.provider_name, counted_sums.provider_name) as provider_name,
        coalesce(billed.billing_account_id, counted_sums.billing_account_id) as billing_account_id,
        coalesce(billed.billing_period_start_date, counted_sums.billing_period_start_date) as billing_period_start_date,
        coalesce(billed.driver_type, counted_sums.driver_type) as driver_type,
        coalesce(billed.billed_usd, 0) - coalesce(counted_sums.ledger_usd, 0) as charge_usd,
        coalesce(billed.line_count, 0) as line_count
    from (select * from billed where driver_type in ('calls', 'commitment')) as billed
    full outer join (
        select counted_sums.*
        from counted_sums
        inner join periods on {{ same_values('counted_sums', 'periods', period_columns()) }}
    ) as counted_sums
        on
            billed.provider_name = counted_sums.provider_name
            and billed.billing_account_id = counted_sums.billing_account_id
            and billed.billing_period_start_date = counted_sums.billing_period_start_date
            and billed.driver_type = counted_sums.driver_type
),

charges as (
    select
        provider_name, billing_account_id, billing_period_start_date, component_name, driver_type,
        case when driver_type in ('tax', 'credit', 'refund', 'adjustment') then driver_type else 'other_service' end
            as cause_type,
        bom_layer_type, tagged_use_case_id, tagged_team_name, cast(null as varchar) as commitment_id,
        billed_usd as charge_usd, line_count
    from billed
    where driver_type not in ('calls', 'commitment')
    union all
    select
        provider_name, billing_account_id, billing_period_start_date, driver_type as component_name, driver_type,
        case driver_type when 'calls' then 'unexplained' else 'price_difference' end as cause_type,
        case driver_type when 'calls' then 'model_calls' else 'capacity' end as bom_layer_type,
        cast(null as varchar) as tagged_use_case_id, cast(null as varchar) as tagged_team_name,
        cast(null as varchar) as commitment_id, charge_usd, line_count
    from differences
    where charge_usd <> 0
    union all
    select
        provider_name, billing_account_id, billing_period_start_date, driver_type as component_name, driver_type,
        cause_type, 'capacity' as bom_layer_type, cast(null as varchar) as tagged_use_case_id,
        cast(null as varchar) as tagged_team_name, commitment_id, ledger_usd as charge_usd,
        cast(0 as bigint) as line_count
    from counted
    where cause_type <> 'used' and ledger_usd <> 0
),

final as (
    select
        provider_name,
        billing_account_id,
        component_name,
        driver_type,
        cause_type,
        bom_layer_type,
        tagged_use_case_id,
        tagged_team_name,
        commitment_id,
        cast(charge_usd as decimal(38, 18)) as charge_usd,
        cast(line_count as bigint) as line_count,
        billing_period_start_date
    from charges
)

select * from final
