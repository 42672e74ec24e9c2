with

provider_aliases as (
    select * from {{ ref('seed_provider_aliases') }}
),

worded as (
    select
        charge_key,
        {%- for column in charge_wording_columns() %}
        max({{ column }}) as {{ column }},
        {%- endfor %}
        count(*) as line_count
    from {{ ref('int_billing__lines_delivered') }}
    group by charge_key
),

named as (
    select
        worded.*,
        coalesce(provider_aliases.provider_name, lower(worded.provider_name)) as canonical_provider_name,
        lower(concat_ws(' | ', worded.sku_meter_name, worded.sku_id, worded.charge_description)) as wording,
        coalesce(lower(worded.consumed_unit) like '%token%', false) as is_token_charge
    from worded
    left join provider_aliases on lower(worded.provider_name) = provider_aliases.reported_provider_name
),

-- A charge of a model names it in its own field or before the first comma of what it is called.
final as (
    select
        charge_key,
        {{ charge_wording_columns() | join(',\n        ') }},
        canonical_provider_name,
        wording,
        is_token_charge,
        model_name as model_name_1,
        case when is_model_charge then nullif(trim(split_part(charge_description, ',', 1)), '') end as model_name_2,
        case when is_model_charge then nullif(trim(split_part(sku_id, '/', 1)), '') end as model_name_3,
        case when is_model_charge then nullif(trim(split_part(sku_meter_name, ',', 1)), '') end as model_name_4,
        line_count
    from (
        select
            *,
            model_name is null
            and charge_type = 'Usage'
            and (is_token_charge or service_category_type = 'AI and Machine Learning') as is_model_charge
        from named
    ) as charges
)

select * from final
