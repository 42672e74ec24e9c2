with

charges as (
    select * from {{ ref('stg_focus_files__charges') }}
),

provider_aliases as (
    select * from {{ ref('seed_provider_aliases') }}
),

-- An invoice that is issued again replaces what was delivered for it in an earlier file.
ranked as (
    select
        charges.*,
        coalesce(provider_aliases.provider_name, lower(charges.provider_name)) as canonical_provider_name,
        dense_rank() over (
            partition by charges.source_name, coalesce(charges.invoice_id, charges.input_uri)
            order by {{ delivery_order(is_record=false) }}
        ) as delivery_rank
    from charges
    left join provider_aliases
        on lower(charges.provider_name) = provider_aliases.reported_provider_name
),

final as (
    select
        source_name,
        invoice_line_id,
        invoice_id,
        provider_name,
        invoice_issuer_name,
        billing_account_id,
        sub_account_id,
        billing_currency_code,
        charge_type,
        charge_class_type,
        charge_description,
        charge_frequency_type,
        service_category_type,
        service_name,
        sku_id,
        sku_meter_name,
        resource_id,
        resource_name,
        region_id,
        pricing_unit,
        consumed_unit,
        focus_version,
        input_uri,
        tags_json,
        record_index,
        billed_cost_in_billing_currency,
        effective_cost_in_billing_currency,
        list_cost_in_billing_currency,
        contracted_cost_in_billing_currency,
        pricing_quantity_units,
        consumed_quantity_units,
        billing_period_start_at,
        billing_period_end_at,
        charge_period_start_at,
        charge_period_end_at,
        landed_at,
        event_date,
        canonical_provider_name,
        delivery_rank,
        case
            when charge_type = 'Usage' and lower(consumed_unit) = 'tokens' then 'calls'
            when charge_type = 'Purchase' then 'commitment'
            else 'other'
        end as driver_type
    from ranked
    where delivery_rank = 1
)

select * from final
