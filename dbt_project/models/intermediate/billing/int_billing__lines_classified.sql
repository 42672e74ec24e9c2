with

charges as (
    select * from {{ ref('int_billing__lines_delivered') }}
),

provider_aliases as (
    select * from {{ ref('seed_provider_aliases') }}
),

meanings as (
    select * from {{ ref('int_billing__charges_resolved') }}
),

tags as (
    select * from {{ ref('int_billing__tags_resolved') }}
),

-- What was written last counts, whenever it was pulled; what an interface was asked for was written when it landed.
named as (
    select
        charges.*,
        coalesce(provider_aliases.provider_name, lower(charges.provider_name)) as canonical_provider_name,
        max(coalesce(charges.modified_at, charges.landed_at)) over (
            partition by charges.source_name, charges.delivery_id
        ) as delivered_at
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

-- Of the meanings that are declared for a charge on its first day, the first one.
meant as (
    select
        versioned.*,
        meanings.model_name as resolved_model_name,
        meanings.model_id,
        meanings.service_tier as resolved_service_tier,
        meanings.unit_kind_type as resolved_unit_kind_type,
        meanings.driver_type as declared_driver_type,
        meanings.bom_layer_type as declared_bom_layer_type,
        meanings.is_token_charge,
        row_number() over (partition by versioned.invoice_line_id order by meanings.class_rank) as meaning_rank
    from versioned
    left join meanings
        on
            versioned.charge_key = meanings.charge_key
            and coalesce(versioned.charge_period_start_at, {{ beginning_of_time() }}) >= meanings.valid_from_at
            and coalesce(versioned.charge_period_start_at, {{ beginning_of_time() }}) < meanings.valid_to_at
),

driven as (
    select
        *,
        case
            when charge_type = 'Tax' then 'tax'
            when declared_driver_type = 'refund' then 'refund'
            when charge_type = 'Credit' then 'credit'
            when charge_type = 'Adjustment' or charge_class_type = 'Correction' then 'adjustment'
            when declared_driver_type is not null then declared_driver_type
            when charge_type = 'Usage' and (is_token_charge or resolved_unit_kind_type is not null) then 'calls'
            when charge_type = 'Purchase' or commitment_id is not null then 'commitment'
            else 'other'
        end as driver_type
    from meant
    where meaning_rank = 1
),

final as (
    select
        driven.source_name,
        driven.invoice_line_id,
        driven.document_type,
        driven.invoice_id,
        driven.provider_name,
        driven.invoice_issuer_name,
        driven.billing_account_id,
        driven.sub_account_id,
        driven.billing_currency_code,
        driven.charge_type,
        driven.charge_class_type,
        driven.charge_description,
        driven.charge_frequency_type,
        driven.service_category_type,
        driven.service_name,
        driven.sku_id,
        driven.sku_meter_name,
        driven.resolved_model_name as model_name,
        driven.model_id,
        driven.resolved_service_tier as service_tier,
        driven.resolved_unit_kind_type as unit_kind_type,
        driven.commitment_id,
        driven.resource_id,
        driven.resource_name,
        driven.region_id,
        driven.pricing_unit,
        driven.consumed_unit,
        driven.delivery_id,
        driven.restated_period_type,
        driven.input_uri,
        driven.tags_json,
        tags.tagged_use_case_id,
        tags.tagged_team_name,
        driven.record_index,
        driven.billed_cost_in_billing_currency,
        driven.effective_cost_in_billing_currency,
        driven.list_cost_in_billing_currency,
        driven.contracted_cost_in_billing_currency,
        driven.pricing_quantity_units,
        driven.consumed_quantity_units,
        driven.billing_period_start_at,
        driven.billing_period_end_at,
        driven.charge_period_start_at,
        driven.charge_period_end_at,
        driven.modified_at,
        driven.landed_at,
        driven.event_date,
        driven.canonical_provider_name,
        driven.version_index,
        case
            when
                driven.delivery_index < case
                    when driven.invoice_id is null then driven.latest_delivery_index
                    else driven.latest_delivery_of_invoice_index
                end
                then 'superseded_by_later_delivery'
        end as reject_reason,
        driven.driver_type,
        case
            when driven.driver_type in ('calls', 'commitment') then driven.driver_type
            else coalesce(driven.charge_description, driven.service_name, driven.sku_id, driven.charge_type, 'unnamed')
        end as component_name,
        case
            when driven.driver_type = 'tax' then 'tax'
            when driven.driver_type in ('credit', 'refund') then 'credit'
            when driven.declared_bom_layer_type is not null then driven.declared_bom_layer_type
            when driven.resolved_unit_kind_type = 'embedding' then 'embeddings'
            when driven.driver_type = 'commitment' then 'capacity'
            when driven.driver_type = 'calls' or driven.is_token_charge then 'model_calls'
            else 'other'
        end as bom_layer_type
    from driven
    left join tags on driven.tags_json = tags.tags_json
)

select * from final
