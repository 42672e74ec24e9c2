{%- set result_columns = [
    'source_name', 'provider_name', 'billing_account_id', 'event_date', 'model_name', 'service_tier', 'region_id',
    'is_workbench', 'request_count',
] -%}
with

results as (
    select *
    from {{ ref('int_billing__reports_classified') }}
    where reject_reason is null
),

provider_aliases as (
    select * from {{ ref('seed_provider_aliases') }}
),

resolved as (
    select * from {{ ref('int_billing__models_resolved') }}
),

kinds as (
    select
        {% for column in result_columns -%}
        {{ column }},
        {% endfor -%}
        entry.key as unit_kind_type,
        entry.value as quantity_units
    from (
        select
            {% for column in result_columns -%}
            {{ column }},
            {% endfor -%}
            {{ exploded_entries('quantities') }} as entry
        from results
    ) as exploded
),

named as (
    select
        kinds.source_name,
        coalesce(provider_aliases.provider_name, lower(kinds.provider_name)) as provider_name,
        kinds.billing_account_id,
        kinds.event_date,
        kinds.model_name,
        resolved.model_id,
        kinds.service_tier,
        kinds.region_id,
        kinds.is_workbench,
        kinds.unit_kind_type,
        kinds.quantity_units,
        kinds.request_count
    from kinds
    left join provider_aliases on lower(kinds.provider_name) = provider_aliases.reported_provider_name
    left join resolved
        on
            kinds.provider_name = resolved.reported_provider_name
            and kinds.model_name = resolved.reported_model_name
),

final as (
    select
        source_name,
        provider_name,
        billing_account_id,
        model_name,
        model_id,
        service_tier,
        region_id,
        unit_kind_type,
        cast(sum(quantity_units) as decimal(38, 3)) as quantity_units,
        cast(sum(request_count) as bigint) as request_count,
        is_workbench,
        event_date
    from named
    group by
        source_name, provider_name, billing_account_id, model_name, model_id, service_tier, region_id, unit_kind_type,
        is_workbench, event_date
)

select * from final
