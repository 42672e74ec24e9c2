with

allocations as (
    select
        *,
        component_name = 'calls' and cause_type is null as is_of_calls
    from {{ ref('fct_cost_allocations') }}
),

final as (
    select
        period_month_date,
        team_name,
        product_name,
        use_case_id,
        environment_name,
        customer_id,
        provider_name,
        layer_type,
        cast(coalesce(sum(call_count), 0) as bigint) as call_count,
        cast(coalesce(sum(unpriced_call_count), 0) as bigint) as unpriced_call_count,
        cast(sum(case when is_of_calls then allocated_cost_usd else 0 end) as decimal(38, 18)) as direct_cost_usd,
        cast(sum(case when is_of_calls then 0 else allocated_cost_usd end) as decimal(38, 18)) as charged_cost_usd,
        cast(sum(allocated_cost_usd) as decimal(38, 18)) as cost_usd
    from allocations
    group by
        period_month_date, team_name, product_name, use_case_id, environment_name, customer_id, provider_name,
        layer_type
)

select * from final
