{#-
    What a test judges: the rows of the days that the run built, or, when they hold none, of the latest day before
    their end that has rows. What is dated by the start of an instance is built for the horizon around the window too.
    A model without a day column is judged whole. A test over nothing fails: `nothing_judged` is a violation of every
    test, save where a list is told that it may rightly be empty.
-#}

{% macro judged_days_around(day_column) -%}
    {{ return(var('instance_horizon_days') if day_column == 'started_date' else 0) }}
{%- endmacro %}

{% macro judged(model, day_column) -%}
    {%- set days = judged_days_around(day_column) -%}
    select *
    from {{ model }}
    {%- if day_column %}
    where
        {{ day_column }} <= {{ window_end(days) }}
        and {{ day_column }} >= (
            select least({{ window_start(days) }}, max(latest.{{ day_column }}))
            from {{ model }} as latest
            where latest.{{ day_column }} <= {{ window_end(days) }}
        )
    {%- endif %}
{%- endmacro %}

{#- The judged rows are named once only: named twice, an engine keeps them all, every column of them. -#}
{% macro violations_of(predicate, columns, model, day_column, is_empty_allowed=false) -%}
    select '{{ predicate }}' as violation{% for column in columns %}, cast({{ column }} as varchar) as {{ column }}{% endfor %}
    from violating
    {%- if not is_empty_allowed %}
    union all
    select 'nothing_judged' as violation{% for column in columns %}, cast(null as varchar) as {{ column }}{% endfor %}
    where not exists (
        select 1 from {{ model }}
        {%- if day_column %} where {{ day_column }} <= {{ window_end(judged_days_around(day_column)) }}{% endif %}
    )
{%- endif %}
{%- endmacro %}
