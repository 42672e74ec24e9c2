{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

calls as (
    select *
    from {{ ref('fct_calls') }}
    where {{ in_window('event_date') }}
),

-- Per card, which kinds take another kind's or the standard tier's price.
card_fallbacks as (
    select
        rate_card_key,
        {% for kind in unit_kinds() -%}
        max(case when unit_kind_type = '{{ kind }}' then 1 else 0 end) = 1 as is_{{ kind }}_fallback,
        {% endfor -%}
        max(case when {{ is_other_kind('unit_kind_type') }} then 1 else 0 end) = 1 as is_other_fallback
    from {{ ref('dim_rate_cards') }}
    where is_price_fallback
    group by rate_card_key
),

classified as (
    select
        calls.event_date,
        coalesce(calls.provider_name, 'unknown') as provider_name,
        coalesce(calls.reported_input_tokens, 0) + coalesce(calls.reported_output_tokens, 0) as tokens,
        calls.list_cost_usd,
        case
            when calls.pricing_status_type <> 'priced' then calls.pricing_status_type
            when
                card_fallbacks.rate_card_key is not null
                and (
                    {% for kind in unit_kinds() if kind != 'request' -%}
                    (calls.{{ quantity_column(kind) }} > 0 and card_fallbacks.is_{{ kind }}_fallback)
                    or {% endfor -%}
                    (calls.other_units is not null and card_fallbacks.is_other_fallback)
                )
                then 'fallback'
            else 'exact'
        end as coverage_type
    from calls
    left join card_fallbacks on calls.rate_card_key = card_fallbacks.rate_card_key
),

counted as (
    select
        event_date,
        provider_name,
        count(*) as call_count,
        {% for coverage in ['exact', 'fallback', 'provisioned', 'unpriced'] -%}
        sum(case when coverage_type = '{{ coverage }}' then 1 else 0 end) as {{ coverage }}_call_count,
        {% endfor -%}
        sum(tokens) as tokens,
        {% for coverage in ['exact', 'fallback', 'provisioned', 'unpriced'] -%}
        sum(case when coverage_type = '{{ coverage }}' then tokens else 0 end) as {{ coverage }}_tokens,
        {% endfor -%}
        sum(case when coverage_type = 'exact' then list_cost_usd end) as exact_list_cost_usd,
        sum(case when coverage_type = 'fallback' then list_cost_usd end) as fallback_list_cost_usd,
        sum(case when coverage_type = 'provisioned' then list_cost_usd end) as provisioned_list_cost_usd
    from classified
    group by event_date, provider_name
),

final as (
    select
        event_date,
        provider_name,
        {% for column in [
            'call_count', 'exact_call_count', 'fallback_call_count', 'provisioned_call_count', 'unpriced_call_count',
            'tokens', 'exact_tokens', 'fallback_tokens', 'provisioned_tokens', 'unpriced_tokens',
        ] -%}
        cast({{ column }} as bigint) as {{ column }},
        {% endfor -%}
        {% for coverage in ['exact', 'fallback', 'provisioned'] -%}
        cast({{ coverage }}_list_cost_usd as decimal(38, 15)) as {{ coverage }}_list_cost_usd,
        {% endfor -%}
        cast(1 - unpriced_call_count / cast(call_count as double) as double) as priced_call_share,
        cast(
            1 - sum(unpriced_call_count) over (partition by event_date)
            / cast(sum(call_count) over (partition by event_date) as double) as double
        ) as day_priced_call_share
    from counted
)

select * from final
