with

economics as (
    select * from {{ ref('rpt_use_case_unit_economics') }}
),

use_cases as (
    select * from {{ ref('dim_use_cases') }}
),

aggregated as (
    select
        use_case_id,
        sum(instance_count) as instance_count,
        sum(costed_instance_count) as costed_instance_count,
        sum(uncosted_instance_count) as uncosted_instance_count,
        sum(judged_instance_count) as judged_instance_count,
        sum(success_count) as success_count,
        sum(costed_judged_instance_count) as costed_judged_instance_count,
        sum(costed_success_count) as costed_success_count,
        sum(valued_instance_count) as valued_instance_count,
        sum(costed_valued_instance_count) as costed_valued_instance_count,
        sum(unpriced_call_count) as unpriced_call_count,
        cast(sum(cost_usd) as decimal(38, 15)) as cost_usd,
        cast(sum(costed_instance_cost_usd) as decimal(38, 15)) as costed_instance_cost_usd,
        cast(sum(judged_cost_usd) as decimal(38, 15)) as judged_cost_usd,
        cast(sum(value_usd) as decimal(38, 9)) as value_usd,
        cast(sum(valued_cost_usd) as decimal(38, 15)) as valued_cost_usd,
        cast(sum(margin_usd) as decimal(38, 15)) as margin_usd,
        min(started_date) as first_started_date,
        max(started_date) as last_started_date
    from economics
    group by use_case_id
),

final as (
    select
        aggregated.use_case_id,
        use_cases.use_case_name,
        use_cases.team_name,
        cast(row_number() over (
            order by aggregated.margin_usd desc nulls last, aggregated.use_case_id asc
        ) as bigint) as margin_rank,
        cast(aggregated.instance_count as bigint) as instance_count,
        cast(aggregated.costed_instance_count as bigint) as costed_instance_count,
        cast(aggregated.uncosted_instance_count as bigint) as uncosted_instance_count,
        cast(aggregated.judged_instance_count as bigint) as judged_instance_count,
        cast(aggregated.success_count as bigint) as success_count,
        cast(aggregated.costed_judged_instance_count as bigint) as costed_judged_instance_count,
        cast(aggregated.costed_success_count as bigint) as costed_success_count,
        cast(aggregated.valued_instance_count as bigint) as valued_instance_count,
        cast(aggregated.costed_valued_instance_count as bigint) as costed_valued_instance_count,
        cast(aggregated.unpriced_call_count as bigint) as unpriced_call_count,
        cast(aggregated.success_count as double) / nullif(aggregated.judged_instance_count, 0) as success_share,
        aggregated.cost_usd,
        cast(aggregated.costed_instance_cost_usd as double)
        / nullif(aggregated.costed_instance_count, 0) as cost_usd_per_costed_instance,
        cast(aggregated.judged_cost_usd as double)
        / nullif(aggregated.costed_success_count, 0) as cost_usd_per_costed_success,
        aggregated.value_usd,
        aggregated.margin_usd,
        cast(aggregated.margin_usd as double)
        / nullif(cast(aggregated.valued_cost_usd as double), 0) as roi_share,
        aggregated.first_started_date,
        aggregated.last_started_date
    from aggregated
    left join use_cases on aggregated.use_case_id = use_cases.use_case_id
)

select * from final
