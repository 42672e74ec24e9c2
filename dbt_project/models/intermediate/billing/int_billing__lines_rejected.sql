with

lines as (
    select * from {{ ref('int_billing__lines_classified') }}
),

final as (
    select
        source_name,
        invoice_line_id,
        document_type,
        invoice_id,
        canonical_provider_name,
        billing_account_id,
        billing_currency_code,
        charge_type,
        charge_class_type,
        charge_description,
        reject_reason,
        delivery_id,
        input_uri,
        record_index,
        version_index,
        billed_cost_in_billing_currency,
        billing_period_start_at,
        charge_period_start_at,
        charge_period_end_at,
        modified_at,
        landed_at
    from lines
    where reject_reason is not null
)

select * from final
