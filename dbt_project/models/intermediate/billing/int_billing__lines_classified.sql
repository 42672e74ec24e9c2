with

charges as (
    select * from {{ ref('stg_focus_files__charges') }}
),

provider_aliases as (
    select * from {{ ref('seed_provider_aliases') }}
),

named as (
    select
        charges.*,
        coalesce(provider_aliases.provider_name, lower(charges.provider_name)) as canonical_provider_name,
        max(charges.landed_at) over (partition by charges.source_name, charges.delivery_id) as delivered_at
    from charges
    left join provider_aliases
        on lower(charges.provider_name) = provider_aliases.reported_provider_name
),

-- What is stated anew together: a charge period, a whole billing period, or the delivery alone.
restated as (
    select
        *,
        dense_rank() over (partition by source_name order by delivered_at asc, delivery_id asc) as delivery_index,
        concat_ws(
            '|',
            restated_period_type,
            case
                when restated_period_type = 'charge_period'
                    then
                        concat_ws(
                            '/', cast(charge_period_start_at as varchar), cast(charge_period_end_at as varchar)
                        )
                when restated_period_type = 'nothing' then delivery_id
            end
        ) as restated_id
    from named
),

-- Charges that are not invoiced yet give way to whatever is delivered later for them, an invoice only to itself.
versioned as (
    select
        *,
        max(delivery_index) over (
            partition by
                source_name, canonical_provider_name, billing_account_id, billing_period_start_at, restated_id
        ) as latest_delivery_index,
        max(delivery_index) over (
            partition by
                source_name, canonical_provider_name, billing_account_id, billing_period_start_at, restated_id,
                invoice_id
        ) as latest_delivery_of_invoice_index,
        dense_rank() over (
            partition by
                source_name, canonical_provider_name, billing_account_id, billing_period_start_at, restated_id,
                invoice_id
            order by delivery_index asc
        ) as version_index
    from restated
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
        delivery_id,
        restated_period_type,
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
        version_index,
        case
            when
                delivery_index < case
                    when invoice_id is null then latest_delivery_index else latest_delivery_of_invoice_index
                end
                then 'superseded_by_later_delivery'
        end as reject_reason,
        case
            when charge_type = 'Usage' and lower(consumed_unit) = 'tokens' then 'calls'
            when charge_type = 'Purchase' then 'commitment'
            else 'other'
        end as driver_type
    from versioned
)

select * from final
