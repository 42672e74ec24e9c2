with

charges as (
    select * from {{ ref('int_billing__charges_worded') }}
),

resolved as (
    select
        reported_provider_name,
        reported_model_name,
        model_id
    from {{ ref('int_billing__models_resolved') }}
    where model_id is not null
),

classes as (
    select
        class_rank,
        provider_name,
        {{ like_of('charge_type_pattern') }} as charge_type_like,
        {{ like_of('service_category_pattern') }} as service_category_like,
        {{ like_of('service_name_pattern') }} as service_name_like,
        {{ like_of('charge_pattern') }} as charge_like,
        is_token_charge,
        driver_type,
        bom_layer_type,
        unit_kind_type,
        cast(valid_from_date as timestamp with time zone) as valid_from_at,
        coalesce(cast(valid_to_date as timestamp with time zone), {{ end_of_time() }}) as valid_to_at
    from {{ ref('seed_charge_classes') }}
),

-- What holds for every charge, after all that is declared.
unclassified as (
    select
        charge_key,
        9999 as class_rank,
        cast(null as varchar) as driver_type,
        cast(null as varchar) as bom_layer_type,
        cast(null as varchar) as unit_kind_type,
        {{ beginning_of_time() }} as valid_from_at,
        {{ end_of_time() }} as valid_to_at
    from charges
),

classified as (
    select
        charges.charge_key,
        classes.class_rank,
        classes.driver_type,
        classes.bom_layer_type,
        classes.unit_kind_type,
        classes.valid_from_at,
        classes.valid_to_at
    from charges
    inner join classes
        on
            (classes.provider_name is null or charges.canonical_provider_name = classes.provider_name)
            and (
                classes.charge_type_like is null
                or lower(charges.charge_type) like classes.charge_type_like escape '!'
            )
            and (
                classes.service_category_like is null
                or lower(charges.service_category_type) like classes.service_category_like escape '!'
            )
            and (
                classes.service_name_like is null
                or lower(charges.service_name) like classes.service_name_like escape '!'
            )
            and (classes.charge_like is null or charges.wording like classes.charge_like escape '!')
            and (classes.is_token_charge is null or charges.is_token_charge = classes.is_token_charge)
    union all
    select * from unclassified
),

final as (
    select
        classified.charge_key,
        charges.canonical_provider_name,
        {#- The first of the names that a model has. #}
        coalesce(
            charges.model_name_1,
            {%- for rank in range(2, 5) %}
            case when resolved_{{ rank }}.model_id is not null then charges.model_name_{{ rank }} end
            {{- ',' if not loop.last }}
            {%- endfor %}
        ) as model_name,
        coalesce(resolved_1.model_id, resolved_2.model_id, resolved_3.model_id, resolved_4.model_id) as model_id,
        coalesce(
            charges.service_tier,
            case when charges.is_token_charge then {{ service_tier_in('charges.wording') }} end
        ) as service_tier,
        coalesce(charges.unit_kind_type, classified.unit_kind_type) as unit_kind_type,
        classified.driver_type,
        classified.bom_layer_type,
        charges.is_token_charge,
        classified.class_rank,
        classified.valid_from_at,
        classified.valid_to_at
    from classified
    inner join charges on classified.charge_key = charges.charge_key
    {%- for rank in range(1, 5) %}
    left join resolved as resolved_{{ rank }}
        on
            charges.provider_name = resolved_{{ rank }}.reported_provider_name
            and charges.model_name_{{ rank }} = resolved_{{ rank }}.reported_model_name
    {%- endfor %}
)

select * from final
