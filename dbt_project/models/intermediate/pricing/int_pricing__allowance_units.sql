{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

calls as (
    select * from {{ ref('int_usage__calls') }}
),

allowances as (
    select * from {{ ref('int_pricing__allowances') }}
),

-- What bought capacity serves is not billed by units, and takes nothing from an allowance.
provisioned as (
    select
        source_name,
        call_id,
        event_date
    from {{ ref('int_capacity__call_costs') }}
    where event_date between {{ window_month_start() }} and {{ window_end() }}
),

-- A day's calls need the whole period before them.
covered as (
    {% for period in ['day', 'month'] -%}
    select
        calls.*,
        allowances.allowance_key,
        allowances.unit_kind,
        allowances.allowance_units,
        {{ 'calls.event_date' if period == 'day' else "cast(date_trunc('month', calls.event_date) as date)" }}
            as period_start_date
    from calls
    inner join allowances
        on
            calls.provider_name = allowances.reported_provider_name
            and calls.model_name = allowances.reported_model_name
            and calls.service_tier = allowances.service_tier
            and coalesce(lower(calls.region_id), '') = allowances.region_key
            and calls.called_at >= allowances.valid_from_at
            and calls.called_at < allowances.valid_to_at
            and allowances.period_type = '{{ period }}'
    where
        calls.event_date between {{ window_start() if period == 'day' else window_month_start() }}
        and {{ window_end() }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

used as (
    select
        covered.source_name,
        covered.call_id,
        covered.event_date,
        covered.called_at,
        covered.allowance_key,
        covered.unit_kind,
        covered.allowance_units,
        covered.period_start_date,
        cast(
            case covered.unit_kind
                {%- for kind in unit_kinds() %}
                when '{{ kind }}' then covered.{{ quantity_column(kind) }}
                {%- endfor %}
                else case
                    when covered.other_units is null then 0
                    else coalesce(covered.other_units[covered.unit_kind], 0)
                end
            end as decimal(18, 3)
        ) as quantity_units
    from covered
    left join provisioned
        on
            covered.source_name = provisioned.source_name
            and covered.call_id = provisioned.call_id
            and covered.event_date = provisioned.event_date
    where provisioned.call_id is null
),

running as (
    select
        *,
        cast(sum(quantity_units) over (
            partition by allowance_key, period_start_date
            order by called_at, source_name, call_id
            rows between unbounded preceding and current row
        ) as decimal(38, 3)) as running_units
    from used
    where quantity_units > 0
),

-- Each call takes the step of the running use below the limit, so a period's free units are the limit exactly.
final as (
    select
        source_name,
        call_id,
        unit_kind,
        allowance_key,
        quantity_units,
        running_units,
        cast(allowance_units as decimal(18, 3)) as allowance_units,
        cast(least(quantity_units, allowance_units - (running_units - quantity_units)) as decimal(18, 3)) as free_units,
        period_start_date,
        event_date
    from running
    where
        running_units - quantity_units < allowance_units
        and {{ in_window('event_date') }}
)

select * from final
