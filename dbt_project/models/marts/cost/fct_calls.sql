{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

calls as (
    select
        *,
        {{ uses_rare_kinds() }} as has_rare_kinds
    from {{ ref('int_usage__calls') }}
    where {{ in_window('event_date') }}
),

resolved as (
    select * from {{ ref('int_pricing__models_resolved') }}
),

rate_cards as (
    select * from {{ ref('int_pricing__rate_cards') }}
),

-- Prices that few calls need, apart, so that the join of all calls need not carry them.
rare_prices as (
    select
        {% for kind in rare_kinds() + ['other'] -%}
        any_value(list_{{ kind }}_usd_per_unit) as list_{{ kind }}_usd_per_unit,
        any_value(contracted_{{ kind }}_usd_per_unit) as contracted_{{ kind }}_usd_per_unit,
        {% endfor -%}
        rate_card_key
    from rate_cards
    group by rate_card_key
),

capacity_costs as (
    select *
    from {{ ref('int_capacity__call_costs') }}
    where {{ in_window('event_date') }}
),

-- The free units of a call, in the columns of its usage.
free_units as (
    select
        source_name,
        call_id,
        event_date,
        {% for kind in unit_kinds() -%}
        cast(sum(case when unit_kind = '{{ kind }}' then free_units else 0 end) as bigint)
            as {{ quantity_column(kind) }},
        {% endfor -%}
        {{ map_of('unit_kind', 'free_units', is_other_kind()) }} as other_units,
        {{ map_of('unit_kind', 'free_units', 'free_units > 0') }} as free_units
    from {{ ref('int_pricing__allowance_units') }}
    where {{ in_window('event_date') }}
    group by source_name, call_id, event_date
),

priced as (
    select
        calls.*,
        resolved.provider_name as canonical_provider_name,
        resolved.model_id,
        rate_cards.rate_card_key,
        rate_cards.is_exchange_rate_unknown,
        free_units.free_units,
        capacity_costs.capacity_cost_usd,
        capacity_costs.call_id is not null as is_provisioned,
        case
            when rate_cards.rate_card_key is not null
                then cast({{ cost_of('calls', 'list') }} as decimal(38, 15))
        end as list_cost_usd,
        case
            when capacity_costs.call_id is not null then cast(0 as decimal(38, 15))
            when rate_cards.rate_card_key is not null
                then
                    cast({{ cost_of('calls', 'contracted') }} as decimal(38, 15))
                    - case
                        when free_units.call_id is null then 0
                        else cast({{ cost_of('free_units', 'contracted') }} as decimal(38, 15))
                    end
        end as contracted_cost_usd
    from calls
    left join resolved
        on
            calls.provider_name = resolved.reported_provider_name
            and calls.model_name = resolved.reported_model_name
    left join rate_cards
        on
            calls.provider_name = rate_cards.reported_provider_name
            and calls.model_name = rate_cards.reported_model_name
            and calls.service_tier = rate_cards.service_tier
            and coalesce(lower(calls.region_id), '') = rate_cards.region_key
            and calls.called_at >= rate_cards.valid_from_at
            and calls.called_at < rate_cards.valid_to_at
            and calls.reported_input_tokens > rate_cards.context_over_tokens
            and calls.reported_input_tokens <= rate_cards.context_up_to_tokens
            and {{ week_minute('calls.called_at') }} >= rate_cards.week_minute_from
            and {{ week_minute('calls.called_at') }} < rate_cards.week_minute_to
    -- The macro reads it.
    left join rare_prices -- noqa: ST11
        on case when calls.has_rare_kinds then rate_cards.rate_card_key end = rare_prices.rate_card_key
    left join capacity_costs
        on
            calls.source_name = capacity_costs.source_name
            and calls.call_id = capacity_costs.call_id
            and calls.event_date = capacity_costs.event_date
    left join free_units
        on
            calls.source_name = free_units.source_name
            and calls.call_id = free_units.call_id
            and calls.event_date = free_units.event_date
),

final as (
    select
        source_name,
        call_id,
        canonical_provider_name as provider_name,
        model_name,
        model_id,
        operation_name,
        deployment_id,
        region_id,
        service_tier,
        use_case_id,
        use_case_version,
        use_case_instance_id,
        conversation_id,
        agent_id,
        step_name,
        team_name,
        environment_name,
        customer_id,
        billing_account_id,
        error_type,
        rate_card_key,
        case
            when is_provisioned then 'provisioned'
            when contracted_cost_usd is not null then 'priced'
            else 'unpriced'
        end as pricing_status_type,
        case
            when is_provisioned or contracted_cost_usd is not null then null
            when reported_input_tokens is null or reported_output_tokens is null then 'missing_token_count'
            when model_id is null then 'unknown_model'
            when rate_card_key is null then 'no_rate_on_that_day'
            when is_exchange_rate_unknown then 'no_exchange_rate'
            else 'no_price_for_unit_kind'
        end as unpriced_reason_type,
        cast(turn_index as integer) as turn_index,
        cast(attempt_index as integer) as attempt_index,
        {%- for kind in unit_kinds() %}
        cast({{ quantity_column(kind) }} as bigint) as {{ quantity_column(kind) }},
        {%- endfor %}
        other_units,
        free_units,
        cast(reported_input_tokens as bigint) as reported_input_tokens,
        cast(reported_output_tokens as bigint) as reported_output_tokens,
        reported_cost_usd,
        list_cost_usd,
        contracted_cost_usd,
        case when is_provisioned then capacity_cost_usd else contracted_cost_usd end as effective_cost_usd,
        latency_ms,
        time_to_first_token_ms,
        is_success,
        is_spillover,
        called_at,
        event_date
    from priced
)

select * from final
