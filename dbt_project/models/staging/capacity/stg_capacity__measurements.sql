{{ config(day_column='event_date') }}

{#- Kinds whose measure is of what was asked of the units: it may be more than they can serve. -#}
{%- set kinds_past_capacity = ['azure_ptu'] %}
{%- set token_measures = ['input_tokens', 'cache_read_tokens', 'output_tokens', 'work_tokens'] %}
with

read as (
    {%- for table in var('measurement_tables') %}
    select
        source_name,
        deployment_id,
        instance_id,
        input_uri,
        record_index,
        coalesce(utilization_share, utilization_percent / 100) as utilization_share,
        {{ token_measures | join(', ') }},
        {{ 'true' if table[4:].split('__')[0] in kinds_past_capacity else 'false' }} as is_past_capacity,
        measured_at,
        landed_at,
        event_date
    from {{ source('raw', table) }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

named as (
    select
        *,
        case
            {%- for measure in token_measures %}
            when {{ measure }} is not null then '{{ measure }}'
            {%- endfor %}
            else 'utilization'
        end as measure_type
    from read
),

ranked as (
    select
        *,
        row_number() over (
            partition by event_date, deployment_id, instance_id, measure_type, measured_at
            order by {{ delivery_order() }}, source_name asc
        ) as delivery_rank
    from named
),

-- A share is kept in whole millionths: sums of whole numbers do not depend on the order of the rows.
final as (
    select
        source_name,
        deployment_id,
        instance_id,
        measure_type,
        case
            when
                measure_type = 'utilization'
                and not coalesce(utilization_share >= 0 and (utilization_share <= 1 or is_past_capacity), false)
                then 'utilization_out_of_range'
            {%- for measure in token_measures %}
            when {{ measure }} < 0 then 'tokens_out_of_range'
            {%- endfor %}
            when delivery_rank > 1 then 'superseded_by_later_delivery'
        end as reject_reason,
        input_uri,
        record_index,
        utilization_share,
        cast(round(case
            when is_past_capacity then least(utilization_share, 1)
            else utilization_share
        end * 1000000) as bigint) as utilization_millionths,
        {{ token_measures | join(', ') }},
        measured_at,
        landed_at,
        event_date
    from ranked
)

select * from final
