{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

{%- set call_columns = [
    'source_name', 'call_id', 'uncached_input_tokens', 'cache_tokens', 'unweighed_output_tokens', 'is_throttled',
    'is_spillover', 'called_at', 'event_date',
] %}
with

-- Tokens before their weights: those are the deployment's.
calls as (
    select
        source_name,
        call_id,
        deployment_id,
        spillover_from_deployment_id,
        input_tokens + cache_write_5m_tokens + cache_write_1h_tokens + input_audio_tokens
        + input_image_tokens + embedding_tokens
        + {{ other_units_sum('other_units', ['cache_write_12h', 'input_video']) }} as uncached_input_tokens,
        cache_read_tokens
        + {{ other_units_sum('other_units', ['cache_read_audio', 'cache_read_image']) }} as cache_tokens,
        output_tokens + reasoning_tokens + output_audio_tokens
        + {{ other_units_sum('other_units', other_output_token_kinds()) }} as unweighed_output_tokens,
        {{ is_throttled('error_type') }} as is_throttled,
        is_spillover,
        called_at,
        event_date
    from {{ ref('int_usage__calls') }}
    where
        {{ in_window('event_date') }}
        and (deployment_id is not null or is_spillover)
),

allocations as (
    select * from {{ ref('int_capacity__allocations') }}
),

-- When a listed deployment did not exist: a call that names it then is shown as such.
existing as (
    select
        deployment_id,
        starts_at,
        max(ends_at) over (
            partition by deployment_id
            order by starts_at, ends_at
            rows between unbounded preceding and 1 preceding
        ) as former_ends_at
    from {{ ref('int_capacity__deployments') }}
),

absent as (
    select
        deployment_id,
        former_ends_at as starts_at,
        starts_at as ends_at
    from existing
    where former_ends_at < starts_at
    union all
    select
        deployment_id,
        timestamp with time zone '1970-01-01 00:00:00+00:00' as starts_at,
        min(starts_at) as ends_at
    from {{ ref('int_capacity__deployments') }}
    group by deployment_id
    union all
    select
        deployment_id,
        max(ends_at) as starts_at,
        timestamp with time zone '9999-12-31 00:00:00+00:00' as ends_at
    from {{ ref('int_capacity__deployments') }}
    group by deployment_id
),

{%- set held_columns = [
    'deployment_id', 'commitment_id', 'direction_type', 'input_token_weight', 'cache_read_token_weight',
    'output_token_weight', 'enforcement_window_s', 'starts_at', 'ends_at',
] %}

periods as (
    select
        {{ held_columns | join(', ') }},
        true as is_deployed
    from allocations
    union all
    select
        deployment_id,
        cast(null as varchar) as commitment_id,
        cast(null as varchar) as direction_type,
        cast(null as integer) as input_token_weight,
        cast(null as decimal(9, 3)) as cache_read_token_weight,
        cast(null as decimal(9, 3)) as output_token_weight,
        cast(null as bigint) as enforcement_window_s,
        starts_at,
        ends_at,
        false as is_deployed
    from absent
),

-- Where a call may have spilled from: the deployment that it names, by its own name or by that of its overflow.
origins as (
    select
        *,
        deployment_id as reported_deployment_id,
        true as is_own_name
    from allocations
    union all
    select
        *,
        spillover_deployment_id as reported_deployment_id,
        false as is_own_name
    from allocations
    where spillover_deployment_id is not null
),

-- What all possible origins agree on is known; where they differ nothing is chosen.
spilled as (
    select
        {%- for column in call_columns %}
        calls.{{ column }},
        {%- endfor %}
        count(distinct origins.deployment_id) = 1 as is_origin_known,
        min(origins.deployment_id) as origin_deployment_id,
        case
            when count(distinct origins.commitment_id) = 1 then min(origins.commitment_id)
        end as commitment_id,
        min(origins.input_token_weight) as input_token_weight,
        case
            when
                count(distinct origins.output_token_weight) = 1
                and count(distinct origins.cache_read_token_weight) = 1
                and count(distinct origins.input_token_weight) = 1
                then min(origins.output_token_weight)
        end as output_token_weight,
        min(origins.cache_read_token_weight) as cache_read_token_weight
    from calls
    left join origins
        on
            coalesce(calls.spillover_from_deployment_id, calls.deployment_id) = origins.reported_deployment_id
            and (calls.spillover_from_deployment_id is null or origins.is_own_name)
            and calls.called_at >= origins.starts_at
            and calls.called_at < origins.ends_at
    where calls.is_spillover
    group by
        calls.source_name,
        calls.call_id,
        calls.uncached_input_tokens,
        calls.cache_tokens,
        calls.unweighed_output_tokens,
        calls.is_throttled,
        calls.is_spillover,
        calls.called_at,
        calls.event_date
),

attributed as (
    select
        {%- for column in call_columns %}
        calls.{{ column }},
        {%- endfor %}
        {%- for column in held_columns[:7] %}
        periods.{{ column }},
        {%- endfor %}
        periods.is_deployed
    from calls
    inner join periods
        on
            calls.deployment_id = periods.deployment_id
            and calls.called_at >= periods.starts_at
            and calls.called_at < periods.ends_at
    where not calls.is_spillover
    union all
    select
        {%- for column in call_columns %}
        spilled.{{ column }},
        {%- endfor %}
        {%- for column in held_columns[:7] %}
        allocations.{{ column }},
        {%- endfor %}
        true as is_deployed
    from spilled
    inner join allocations
        on
            spilled.origin_deployment_id = allocations.deployment_id
            and spilled.called_at >= allocations.starts_at
            and spilled.called_at < allocations.ends_at
    where spilled.is_origin_known
    union all
    select
        {%- for column in call_columns %}
        {{ column }},
        {%- endfor %}
        cast(null as varchar) as deployment_id,
        commitment_id,
        cast(null as varchar) as direction_type,
        input_token_weight,
        cache_read_token_weight,
        output_token_weight,
        cast(null as bigint) as enforcement_window_s,
        true as is_deployed
    from spilled
    where not is_origin_known
),

-- Weighted work in input-token equivalents: (input - cached) + ratio x output; a bundle counts its own direction.
final as (
    select
        source_name,
        call_id,
        commitment_id,
        deployment_id,
        direction_type,
        date_trunc('minute', called_at) as minute_at,
        {{ utc_hour('called_at') }} as hour_at,
        cast(floor(extract(second from called_at) / coalesce(enforcement_window_s, 60)) as bigint) as window_index,
        called_at,
        event_date,
        is_deployed,
        is_spillover,
        is_throttled,
        cast(round(
            uncached_input_tokens * input_token_weight
            + case when cache_read_token_weight = 0 then 0 else cache_tokens * cache_read_token_weight end
            + unweighed_output_tokens * output_token_weight
        ) as bigint) as work_tokens
    from attributed
)

select * from final
