{{ config(materialized='view') }}

{%- set content_columns = [] %}
{%- for column in usage_columns() if column not in ('input_uri', 'raw_content', 'record_index', 'landed_at') %}
{%- do content_columns.append('reported.' ~ column) %}
{%- endfor %}

with

reported as (
    select * from {{ ref('int_usage__calls_reported') }}
),

redelivered as (
    select * from {{ ref('int_usage__calls_redelivered') }}
),

deliveries as (
    select
        reported.*,
        {{ content_hash(content_columns) }} as content_hash
    from reported
    inner join redelivered
        on
            reported.source_name = redelivered.source_name
            and reported.call_id = redelivered.call_id
            and reported.event_date = redelivered.event_date
    where reported.reject_reason is null
),

-- The latest delivery wins: a provider's correction replaces what it said before. Which is latest, it says itself.
final as (
    select
        {{ usage_columns() | join(', ') }},
        content_hash,
        row_number() over (
            partition by source_name, call_id, event_date
            order by called_at desc, {{ delivery_order() }}
        ) as delivery_rank,
        first_value(content_hash) over (
            partition by source_name, call_id, event_date
            order by called_at desc, {{ delivery_order() }}
        ) as winning_content_hash
    from deliveries
)

select * from final
