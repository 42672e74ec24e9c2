{#-
    The columns of a catalogue's price as every rate model names them, without when it holds. What raw leaves null where
    there is no bound becomes the bound: -1 stands below every count, so that the base price holds for an empty input
    too, and a week has 10,080 minutes.
-#}
{% macro catalogue_rate_columns() -%}
    source_name,
    provider_name,
    model_id,
    service_tier,
    region_id,
    unit_kind,
    price_key,
    pricing_currency,
    pricing_unit,
    evidence_url as evidence,
    unit_price,
    coalesce(context_over_tokens, -1) as context_over_tokens,
    context_up_to_tokens,
    coalesce(week_minute_from, 0) as week_minute_from,
    coalesce(week_minute_to, 10080) as week_minute_to,
    is_threshold_inclusive
{%- endmacro %}

{#- The first instant of all, where a rate has no beginning of its own. -#}
{% macro beginning_of_time() -%}
    cast('1970-01-01' as timestamp with time zone)
{%- endmacro %}

{#- The first instant after all, where a rate has no end of its own. -#}
{% macro end_of_time() -%}
    cast('9999-12-31' as timestamp with time zone)
{%- endmacro %}

{#-
    When each version of a catalogue without dates of its own holds for a model: from its date until the next version
    that lists the model. One CTE's body; `relation` holds source_name, provider_name, model_id and valid_from.
-#}
{% macro model_versions(relation) -%}
    select
        source_name,
        provider_name,
        model_id,
        valid_from_at,
        coalesce(
            lead(valid_from_at) over (
                partition by source_name, provider_name, model_id
                order by valid_from_at
            ),
            {{ end_of_time() }}
        ) as superseded_at
    from (
        select distinct
            source_name,
            provider_name,
            model_id,
            coalesce(valid_from, {{ beginning_of_time() }}) as valid_from_at
        from {{ relation }}
    ) as listed
{%- endmacro %}

{#- A price in dollars that depends on neither region nor time of day. -#}
{% macro is_everywhere_and_always_in_usd() -%}
    (pricing_currency = 'USD' and region_id is null and week_minute_from = 0 and week_minute_to = 10080)
{%- endmacro %}

{#- Is a price so far from the one accepted before that a slip of the unit is likelier than a new price? -#}
{% macro is_implausible_change(accepted_unit_price, unit_price) -%}
    {{ accepted_unit_price }} > 0
            and (
                {{ unit_price }} >= {{ implausible_multiple_of(accepted_unit_price) }}
                or {{ accepted_unit_price }} >= {{ implausible_multiple_of(unit_price) }}
            )
{%- endmacro %}

{#- The smallest price that is implausible after a price; wider than a price, for it may be one that no unit has. -#}
{% macro implausible_multiple_of(unit_price) -%}
    cast({{ unit_price }} as decimal(38, 15)) * {{ var('implausible_price_multiplier') }}
{%- endmacro %}
