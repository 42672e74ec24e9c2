{#- Columns one below the other, each with the prefix. -#}
{% macro listed(columns, prefix='') -%}
    {% for column in columns -%}
    {{ prefix }}{{ column }}{{ ',\n        ' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#- Equality of the named columns in which null equals null. -#}
{% macro same_values(one, other, columns) -%}
    {% for column in columns -%}
    {{ one }}.{{ column }} is not distinct from {{ other }}.{{ column }}
    {{- ' and ' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#-
    How nearly a key's kind is that of a detail: the same, the kind whose price stands in for it, or left open. Null when
    the key does not cover the detail.
-#}
{% macro kind_rank(detail_kind, key_kind) -%}
    case
            when {{ key_kind }} is null then 0
            when {{ key_kind }} = {{ detail_kind }} then 9
            {%- for kind, stand_ins in price_fallbacks().items() %}
            {%- for stand_in in stand_ins %}
            when {{ detail_kind }} = '{{ kind }}' and {{ key_kind }} = '{{ stand_in }}' then {{ 8 - loop.index }}
            {%- endfor %}
            {%- endfor %}
        end
{%- endmacro %}

{#-
    Each row of `details` with the most specific row of `keys` that covers it: a query of both sides' columns, the key's
    with the prefix `key_`. A key covers what agrees with all that it states; what it leaves open covers everything. A
    kind that the bill does not name is billed as the kind whose price stands in for its own: reasoning as output. Model
    goes before kind, kind before tier. What does not say its tier is of the standard one, where a key is. `details` has
    one row per scope, compared columns and `detail_columns`.
-#}
{% macro covered_by(details, keys, scope_columns, detail_columns=[]) -%}
    {%- set rank = kind_rank('details.unit_kind_type', 'keys.unit_kind_type') -%}
    select *
    from (
        select
            details.*,
            keys.{{ scope_columns[0] }} is not null as is_covered,
            {%- for column in compared_columns() %}
            case when keys.{{ scope_columns[0] }} is null then details.{{ column }} else keys.{{ column }} end
                as key_{{ column }},
            {%- endfor %}
            row_number() over (
                partition by
                    {% for column in scope_columns + compared_columns() + detail_columns -%}
                    details.{{ column }}{{ ', ' if not loop.last }}
                    {%- endfor %}
                order by
                    case when keys.model_id is null then 0 else 1 end desc,
                    {{ rank }} desc,
                    case
                        when keys.service_tier = details.service_tier then 2
                        when keys.service_tier is null then 1
                        else 0
                    end desc,
                    case when keys.service_tier = 'standard' then 0 else 1 end asc,
                    keys.service_tier asc
            ) as cover_rank
        from {{ details }} as details
        left join {{ keys }} as keys
            on
                {{ same_values('details', 'keys', scope_columns) }}
                and (keys.model_id is null or keys.model_id = details.model_id)
                and (
                    keys.service_tier is null
                    or details.service_tier is null
                    or keys.service_tier = details.service_tier
                )
                and {{ rank }} is not null
    ) as ranked
    where cover_rank = 1
{%- endmacro %}

{#- An amount of USD per unit, cut after the 15th decimal; null without units. Neither is negative. -#}
{% macro usd_per_unit(amount_usd, quantity_units) -%}
    case
        when {{ quantity_units }} > 0
            then cast(
                cast(
                    {{ integer_divide(
                        'cast(cast(' ~ amount_usd ~ ' as decimal(28, 15)) * 1000000000000000 as decimal(38, 0)) * 1000',
                        'cast(' ~ quantity_units ~ ' as decimal(28, 3)) * 1000'
                    ) }} as decimal(20, 0)
                ) * cast(0.000000000000001 as decimal(16, 15))
                as decimal(38, 15)
            )
    end
{%- endmacro %}

{#-
    How far rounding can move a line of a bill: half a cent, or half a hundredth of a dearer currency's unit. Currencies
    without hundredths are worth less than a cent a unit.
-#}
{% macro smallest_rounding_usd() -%}
    cast(0.005 as decimal(9, 6))
{%- endmacro %}

{% macro rounding_usd(prefix='') -%}
    {{ smallest_rounding_usd() }} * cast(greatest(coalesce({{ prefix }}usd_per_currency_unit, 1), 1) as decimal(18, 12))
{%- endmacro %}

{#- A bill's line is for a time before the bill's own period. -#}
{% macro is_before_its_period(prefix='') -%}
    coalesce({{ prefix }}charge_period_end_at <= {{ prefix }}billing_period_start_at, false)
{%- endmacro %}

{#- The cause of a charge that no call and no commitment drives: what its driver says, else what its name does. -#}
{% macro cause_of_charge(driver_type, component_name) -%}
    case
            when {{ driver_type }} in ('tax', 'credit', 'refund', 'adjustment') then {{ driver_type }}
            when {{ regexp_found('lower(' ~ component_name ~ ')', "'playground|workbench'") }} then 'workbench_use'
            when
                {{ regexp_found(
                    'lower(' ~ component_name ~ ')',
                    "'web search|file search|code execution|code interpreter|tool call'"
                ) }}
                then 'tool_charge'
            else 'other_service'
        end
{%- endmacro %}

{#- A line of a provider's cost report that is of one UTC day, with an amount in USD. -#}
{% macro is_line_of_daily_report() -%}
    document_type = 'cost_report'
        and billed_cost_usd is not null
        and charge_period_end_at <= charge_period_start_at + interval '1' day
{%- endmacro %}

{#- What the calls of several keys used and cost. -#}
{% macro summed_calls() -%}
    {% for column in [
        'called_units', 'provisioned_units', 'unpriced_units', 'free_units', 'list_cost_usd', 'free_usd',
        'effective_cost_usd',
    ] -%}
    sum({{ column }}) as {{ column }},
        {% endfor -%}
    min(min_usd_per_unit) as min_usd_per_unit,
        max(max_usd_per_unit) as max_usd_per_unit
{%- endmacro %}

{#- What the calls of a day paid for a unit: the one price that all of them had, else the mean. -#}
{% macro price_of_day(prefix='') -%}
    case
            when {{ prefix }}min_usd_per_unit = {{ prefix }}max_usd_per_unit and {{ prefix }}unpriced_units = 0
                then {{ prefix }}min_usd_per_unit
            else {{ usd_per_unit(
                prefix ~ 'effective_cost_usd',
                prefix ~ 'called_units - ' ~ prefix ~ 'provisioned_units - ' ~ prefix ~ 'unpriced_units - '
                    ~ prefix ~ 'free_units'
            ) }}
        end
{%- endmacro %}
