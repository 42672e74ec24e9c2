with

final as (
    select
        source_name,
        report_line_id,
        provider_name,
        billing_account_id,
        endpoint_type,
        model_name,
        reject_reason,
        input_uri,
        record_index,
        reported_input_tokens,
        reported_output_tokens,
        bucket_start_at,
        bucket_end_at,
        modified_at,
        landed_at,
        event_date
    from {{ ref('int_billing__reports_classified') }}
    where reject_reason is not null
)

select * from final
