with

source as (
    select * from {{ source('raw', 'raw_azure_openai_usage__buckets') }}
),

-- No metric counts cached tokens: they stand within the input.
final as (
    select
        source_name,
        concat(input_uri, ':', record_index) as report_line_id,
        'azure' as provider_name,
        billing_account_id,
        'deployments' as endpoint_type,
        model_name,
        case
            when is_batch then 'batch'
            when service_tier is not null then {{ service_tier_of('service_tier') }}
        end as service_tier,
        region_id,
        deployment_name as project_id,
        cast(null as varchar) as api_key_id,
        cast(null as boolean) as is_workbench,
        case
            when {{ least_count(['input_tokens', 'output_tokens', 'request_count']) }} < 0
                then 'negative_token_count'
        end as reject_reason,
        input_uri,
        record_index,
        {{ unit_map_of({
            'input': 'coalesce(input_tokens, 0)',
            'output': 'coalesce(output_tokens, 0)',
        }) }} as quantities,
        input_tokens as reported_input_tokens,
        output_tokens as reported_output_tokens,
        request_count,
        bucket_start_at,
        bucket_end_at,
        modified_at,
        landed_at,
        event_date
    from source
)

select * from final
