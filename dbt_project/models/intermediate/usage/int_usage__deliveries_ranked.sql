{{ config(materialized='view') }}

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
        md5(concat_ws(
            '|',
            reported.provider_name, reported.model_name, reported.service_tier, reported.called_at,
            reported.input_tokens, reported.cache_read_tokens, reported.cache_write_5m_tokens,
            reported.cache_write_1h_tokens, reported.output_tokens, reported.reasoning_tokens,
            reported.embedding_tokens, reported.use_case_id, reported.use_case_instance_id
        )) as content_hash
    from reported
    inner join redelivered
        on
            reported.source_name = redelivered.source_name
            and reported.call_id = redelivered.call_id
            and reported.event_date = redelivered.event_date
    where reported.reject_reason is null
),

-- The latest delivery wins: a provider's correction replaces what it said before.
final as (
    select
        *,
        row_number() over (
            partition by source_name, call_id, event_date
            order by landed_at desc, input_uri desc, record_index desc
        ) as delivery_rank,
        first_value(content_hash) over (
            partition by source_name, call_id, event_date
            order by landed_at desc, input_uri desc, record_index desc
        ) as winning_content_hash
    from deliveries
)

select * from final
