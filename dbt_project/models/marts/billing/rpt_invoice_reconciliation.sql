with

lines as (
    select *
    from {{ ref('fct_invoice_lines') }}
    where is_bill
),

periods as (
    select
        provider_name,
        billing_account_id,
        billing_period_start_date,
        min(cast(billing_period_end_at as date)) as billing_period_end_date
    from lines
    group by provider_name, billing_account_id, billing_period_start_date
),

-- No call says which account pays for it: it is known where the provider bills one account only.
attributed as (
    select
        periods.provider_name,
        periods.billing_period_start_date,
        periods.billing_period_end_date,
        case when count(distinct overlapping_periods.billing_account_id) = 1 then periods.billing_account_id end
            as billing_account_id
    from periods
    inner join periods as overlapping_periods
        on
            periods.provider_name = overlapping_periods.provider_name
            and periods.billing_period_start_date < overlapping_periods.billing_period_end_date
            and periods.billing_period_end_date > overlapping_periods.billing_period_start_date
    group by
        periods.provider_name,
        periods.billing_account_id,
        periods.billing_period_start_date,
        periods.billing_period_end_date
),

ledger_periods as (
    select
        provider_name,
        billing_account_id,
        billing_period_start_date,
        min(billing_period_end_date) as billing_period_end_date
    from attributed
    group by provider_name, billing_account_id, billing_period_start_date
),

ledger as (
    select
        ledger_periods.provider_name,
        ledger_periods.billing_account_id,
        ledger_periods.billing_period_start_date,
        'calls' as driver_type,
        sum(spend.call_count) as call_count,
        sum(spend.unpriced_call_count) as unpriced_call_count,
        sum(spend.unpriced_input_tokens) as unpriced_input_tokens,
        sum(spend.unpriced_output_tokens) as unpriced_output_tokens,
        cast(sum(spend.contracted_cost_usd) as decimal(38, 15)) as ledger_cost_usd
    from ledger_periods
    inner join {{ ref('rpt_daily_spend') }} as spend
        on
            ledger_periods.provider_name = spend.provider_name
            and ledger_periods.billing_period_start_date <= spend.event_date
            and ledger_periods.billing_period_end_date > spend.event_date
    group by
        ledger_periods.provider_name, ledger_periods.billing_account_id, ledger_periods.billing_period_start_date
    union all
    select
        ledger_periods.provider_name,
        ledger_periods.billing_account_id,
        ledger_periods.billing_period_start_date,
        'commitment' as driver_type,
        cast(null as bigint) as call_count,
        cast(null as bigint) as unpriced_call_count,
        cast(null as bigint) as unpriced_input_tokens,
        cast(null as bigint) as unpriced_output_tokens,
        cast(sum(hours.cost_usd) as decimal(38, 15)) as ledger_cost_usd
    from ledger_periods
    inner join {{ ref('dim_commitments') }} as commitments
        on ledger_periods.provider_name = commitments.provider_name
    inner join {{ ref('rpt_capacity_utilization') }} as hours
        on
            commitments.commitment_id = hours.commitment_id
            and ledger_periods.billing_period_start_date <= hours.event_date
            and ledger_periods.billing_period_end_date > hours.event_date
    group by
        ledger_periods.provider_name, ledger_periods.billing_account_id, ledger_periods.billing_period_start_date
),

billed as (
    select
        provider_name,
        billing_account_id,
        billing_period_start_date,
        driver_type,
        component_name,
        cast(sum(billed_cost_usd) as decimal(38, 18)) as billed_cost_usd,
        count(*) as line_count,
        count(unconverted_reason_type) as unconverted_line_count
    from lines
    group by
        provider_name,
        billing_account_id,
        billing_period_start_date,
        driver_type,
        component_name
),

components as (
    select
        coalesce(billed.provider_name, ledger.provider_name) as provider_name,
        coalesce(billed.billing_account_id, ledger.billing_account_id) as billing_account_id,
        coalesce(billed.component_name, ledger.driver_type) as component_name,
        coalesce(billed.driver_type, ledger.driver_type) as driver_type,
        coalesce(billed.line_count, 0) as line_count,
        coalesce(billed.unconverted_line_count, 0) as unconverted_line_count,
        ledger.call_count,
        ledger.unpriced_call_count,
        ledger.unpriced_input_tokens,
        ledger.unpriced_output_tokens,
        -- The bill of a known account that has no such line charges nothing for it.
        case
            when billed.provider_name is null and ledger.billing_account_id is not null
                then cast(0 as decimal(38, 18))
            else billed.billed_cost_usd
        end as billed_cost_usd,
        ledger.ledger_cost_usd,
        coalesce(billed.billing_period_start_date, ledger.billing_period_start_date) as billing_period_start_date,
        ledger.provider_name is not null as has_ledger_figure
    from billed
    full outer join ledger
        on
            billed.provider_name = ledger.provider_name
            and billed.billing_account_id = ledger.billing_account_id
            and billed.billing_period_start_date = ledger.billing_period_start_date
            and billed.driver_type = ledger.driver_type
),

unknown_accounts as (
    select distinct
        provider_name,
        billing_period_start_date
    from ledger_periods
    where billing_account_id is null
),

final as (
    select
        components.provider_name,
        components.billing_account_id,
        components.component_name,
        components.driver_type,
        case
            when components.billed_cost_usd - components.ledger_cost_usd is not null then null
            when components.driver_type not in ('calls', 'commitment') then 'not_in_ledger'
            when unknown_accounts.provider_name is not null then 'account_of_calls_unknown'
            when not components.has_ledger_figure then 'no_calls_or_commitments'
            when components.ledger_cost_usd is null then 'no_price'
            else 'no_exchange_rate'
        end as unreconciled_reason_type,
        cast(components.line_count as bigint) as line_count,
        cast(components.unconverted_line_count as bigint) as unconverted_line_count,
        cast(components.call_count as bigint) as call_count,
        cast(components.unpriced_call_count as bigint) as unpriced_call_count,
        cast(components.unpriced_input_tokens as bigint) as unpriced_input_tokens,
        cast(components.unpriced_output_tokens as bigint) as unpriced_output_tokens,
        components.billed_cost_usd,
        components.ledger_cost_usd,
        cast(components.billed_cost_usd - components.ledger_cost_usd as decimal(38, 18)) as difference_usd,
        components.billing_period_start_date
    from components
    left join unknown_accounts
        on
            components.provider_name = unknown_accounts.provider_name
            and components.billing_period_start_date = unknown_accounts.billing_period_start_date
)

select * from final
