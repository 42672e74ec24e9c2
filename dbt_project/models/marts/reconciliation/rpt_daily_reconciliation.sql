{%- set day = ['provider_name', 'billing_account_id', 'event_date'] -%}
{%- set compared = compared_columns() -%}
with

differences as (
    select
        *,
        reported_units - compared_units as difference_units,
        reported_cost_usd - coalesce(compared_cost_usd, 0) as difference_usd,
        unit_kind_type in ('web_search', 'maps_search', 'file_search', 'rerank_search', 'code_session') as is_tool
    from {{ ref('int_reconciliation__days_compared') }}
),

beside_workbench as (
    select
        *,
        difference_units - workbench_units as rest_units
    from differences
    where layer_type = 'calls_to_usage_report'
),

-- Calls about midnight: what the report lacks on a day it has too much of on the next one, to the unit.
neighbouring as (
    select
        *,
        lag(rest_units) over (
            partition by provider_name, billing_account_id, {{ compared | join(', ') }}
            order by event_date
        ) as former_rest_units,
        lead(rest_units) over (
            partition by provider_name, billing_account_id, {{ compared | join(', ') }}
            order by event_date
        ) as next_rest_units,
        lag(event_date) over (
            partition by provider_name, billing_account_id, {{ compared | join(', ') }}
            order by event_date
        ) as former_date,
        lead(event_date) over (
            partition by provider_name, billing_account_id, {{ compared | join(', ') }}
            order by event_date
        ) as next_date
    from beside_workbench
),

late as (
    select
        *,
        case
            when
                rest_units < 0
                and rest_units = -next_rest_units
                and next_date = cast(event_date + interval '1' day as date)
                then rest_units
            when
                rest_units > 0
                and rest_units = -former_rest_units
                and event_date = cast(former_date + interval '1' day as date)
                then rest_units
            else 0
        end as late_units
    from neighbouring
),

counted as (
    select
        *,
        case
            when difference_units > late_units then least(workbench_units, difference_units - late_units)
            else 0
        end as workbench_part_units
    from late
),

-- Units that the cost report counts and the other record does not explain an amount only if their price does.
costed as (
    select
        *,
        case
            when
                compared_cost_usd is not null
                and abs(difference_usd) > rounding_usd
                and abs(difference_usd - difference_units * usd_per_unit) <= rounding_usd
                then difference_units
            else 0
        end as moved_units,
        case
            when charge_cause_type is not null then charge_cause_type
            when is_tier_absent then 'tier_absent_from_report'
            when not is_compared and is_tool then 'tool_charge'
            when not is_compared and layer_type = 'calls_to_cost_report' and not has_calls_of_unknown_account
                then 'missing_telemetry'
            when not is_compared then 'unexplained'
            when compared_cost_usd is not null then null
            when unpriced_units > 0 then 'unpriced_usage'
            when workbench_units >= compared_units then 'workbench_use'
            when has_calls_of_unknown_account then 'unexplained'
            else 'missing_telemetry'
        end as whole_cause_type
    from differences
    where layer_type <> 'calls_to_usage_report'
),

rested as (
    select
        *,
        case
            when whole_cause_type is not null then 0
            else difference_usd - coalesce(cast(moved_units * usd_per_unit as decimal(38, 18)), 0)
        end as rest_usd
    from costed
),

steps as (
    {%- set no_text = 'cast(null as varchar)' -%}
    {%- set rest_cause -%}
        case
            when abs(rest_usd) <= rounding_usd then 'rounding'
            when unpriced_units > 0 and rest_usd > 0 then 'unpriced_usage'
            when uncosted_units > 0 and rest_usd > 0 and not has_calls_of_unknown_account then 'missing_telemetry'
            when free_usd > 0 and abs(rest_usd - free_usd) <= rounding_usd then 'free_allowance'
            when discount_usd <> 0 and abs(rest_usd - discount_usd) <= rounding_usd then 'discount'
            when is_reported and reported_units = compared_units then 'price_difference'
            else 'unexplained'
        end
    {%- endset -%}
    {%- set units_cause -%}
        case
            when moved_units > 0 and layer_type = 'calls_to_cost_report' and not has_calls_of_unknown_account
                then 'missing_telemetry'
            else 'unexplained'
        end
    {%- endset -%}
    {%- set calls_cause -%}
        case
            when difference_units > late_units and not has_calls_of_unknown_account then 'missing_telemetry'
            when is_tier_absent then 'tier_absent_from_report'
            else 'unexplained'
        end
    {%- endset -%}
    {%- set call_units = 'difference_units - late_units - workbench_part_units' -%}
    {%- for rows, cause, units, compared_usd, reported_usd, condition in [
        ('counted', no_text, 'compared_units', 'compared_cost_usd', 'compared_cost_usd', 'is_compared'),
        ('counted', "'late_usage'", 'late_units', '0', 'late_units * usd_per_unit', 'late_units <> 0'),
        (
            'counted', "'workbench_use'", 'workbench_part_units', '0', 'workbench_part_units * usd_per_unit',
            'workbench_part_units > 0',
        ),
        (
            'counted', calls_cause, call_units, '0', '(' ~ call_units ~ ') * usd_per_unit',
            'difference_units <> late_units + workbench_part_units',
        ),
        ('costed', no_text, 'compared_units', 'compared_cost_usd', 'compared_cost_usd', 'is_compared'),
        (
            'costed', 'whole_cause_type', 'case when is_reported then reported_units else -compared_units end', '0',
            'difference_usd', 'whole_cause_type is not null and (difference_usd <> 0 or not is_compared)',
        ),
        (
            'costed', units_cause, 'moved_units', '0', 'moved_units * usd_per_unit',
            'whole_cause_type is null and moved_units <> 0',
        ),
        ('rested', rest_cause, 'compared_units', '0', 'rest_usd', 'rest_usd <> 0'),
    ] %}
    select
        layer_type,
        {{ day | join(', ') }},
        component_name,
        {{ compared | join(', ') }},
        {{ cause }} as cause_type,
        {{ 'line_count' if cause == no_text else 'case when is_compared then 0 else line_count end' }} as line_count,
        {{ units }} as quantity_units,
        usd_per_unit,
        cast({{ compared_usd }} as decimal(38, 18)) as compared_cost_usd,
        cast({{ reported_usd }} as decimal(38, 18)) as reported_cost_usd
    from {{ rows }}
    where {{ condition }}
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
),

final as (
    select
        layer_type,
        provider_name,
        billing_account_id,
        component_name,
        {{ compared | join(',\n        ') }},
        case
            when cause_type is null then 'matched'
            when cause_type = 'unexplained' then 'unexplained'
            else 'explained'
        end as status_type,
        cause_type,
        cast(line_count as bigint) as line_count,
        cast(quantity_units as decimal(28, 3)) as quantity_units,
        usd_per_unit,
        compared_cost_usd,
        reported_cost_usd,
        cast(reported_cost_usd - compared_cost_usd as decimal(38, 18)) as difference_usd,
        event_date
    from steps
)

select * from final
