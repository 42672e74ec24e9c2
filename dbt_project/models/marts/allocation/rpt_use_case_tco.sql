with

allocations as (
    select
        period_month_date,
        use_case_id,
        layer_type,
        sum(allocated_cost_usd) as cost_usd,
        sum(call_count) as call_count,
        sum(unpriced_call_count) as unpriced_call_count
    from {{ ref('fct_cost_allocations') }}
    group by period_month_date, use_case_id, layer_type
),

layers as (
    {%- for layer in bom_layers() %}
    select '{{ layer }}' as layer_type, {{ loop.index }} as layer_index
    {{- ' union all' if not loop.last }}
    {%- endfor %}
),

-- A layer that nothing in the month is of may be free, or nobody declared it: its cost is unknown, not zero.
layers_with_costs as (
    select distinct
        period_month_date,
        layer_type
    from allocations
),

use_case_months as (
    select
        period_month_date,
        use_case_id,
        sum(cost_usd) as tco_usd,
        sum(call_count) as call_count,
        sum(unpriced_call_count) as unpriced_call_count
    from allocations
    where use_case_id is not null
    group by period_month_date, use_case_id
),

months as (
    select
        period_month_date,
        sum(call_count) as call_count
    from allocations
    group by period_month_date
),

instances as (
    select
        cast(date_trunc('month', started_date) as date) as period_month_date,
        use_case_id,
        count(*) as instance_count,
        count(is_success) as judged_instance_count,
        sum(case when is_success then 1 else 0 end) as success_count
    from {{ ref('fct_use_case_instances') }}
    group by cast(date_trunc('month', started_date) as date), use_case_id
),

final as (
    select
        use_case_months.period_month_date,
        use_case_months.use_case_id,
        layers.layer_type,
        cast(layers.layer_index as integer) as layer_index,
        case
            when layers_with_costs.layer_type is not null
                then cast(coalesce(allocations.cost_usd, 0) as decimal(38, 18))
        end as cost_usd,
        cast(use_case_months.tco_usd as decimal(38, 18)) as tco_usd,
        case
            when layers_with_costs.layer_type is not null
                then
                    cast(coalesce(allocations.cost_usd, 0) as double)
                    / nullif(cast(use_case_months.tco_usd as double), 0)
        end as layer_share,
        cast(use_case_months.call_count as bigint) as call_count,
        cast(use_case_months.unpriced_call_count as bigint) as unpriced_call_count,
        cast(use_case_months.call_count as double) / nullif(cast(months.call_count as double), 0) as call_share,
        cast(coalesce(instances.instance_count, 0) as bigint) as instance_count,
        cast(coalesce(instances.judged_instance_count, 0) as bigint) as judged_instance_count,
        cast(coalesce(instances.success_count, 0) as bigint) as success_count,
        cast(use_case_months.tco_usd as double) / nullif(instances.instance_count, 0) as tco_usd_per_instance,
        cast(use_case_months.tco_usd as double) / nullif(instances.success_count, 0) as tco_usd_per_success
    from use_case_months
    cross join layers
    inner join months on use_case_months.period_month_date = months.period_month_date
    left join layers_with_costs
        on
            use_case_months.period_month_date = layers_with_costs.period_month_date
            and layers.layer_type = layers_with_costs.layer_type
    left join allocations
        on
            use_case_months.period_month_date = allocations.period_month_date
            and use_case_months.use_case_id = allocations.use_case_id
            and layers.layer_type = allocations.layer_type
    left join instances
        on
            use_case_months.period_month_date = instances.period_month_date
            and use_case_months.use_case_id = instances.use_case_id
)

select * from final
