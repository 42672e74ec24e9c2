{#-
    What a test judges: the rows of the window, or, when the window holds none, of the latest day before its end
    that has rows. A model without a day column is judged whole. A test over nothing fails: `nothing_judged`
    is a violation of every test.
-#}

{% macro judged(model, day_column, days_before=0) -%}
    select *
    from {{ model }}
    {%- if day_column %}
    where
        {{ day_column }} <= {{ window_end() }}
        and {{ day_column }} >= (
            select least({{ window_start(days_before) }}, max(latest.{{ day_column }}))
            from {{ model }} as latest
            where latest.{{ day_column }} <= {{ window_end() }}
        )
    {%- endif %}
{%- endmacro %}

{% macro violations_of(predicate, columns=[]) -%}
    select '{{ predicate }}' as violation{% for column in columns %}, cast({{ column }} as varchar) as {{ column }}{% endfor %}
    from violating
    union all
    select 'nothing_judged' as violation{% for column in columns %}, cast(null as varchar) as {{ column }}{% endfor %}
    where not exists (select 1 from judged_rows)
{%- endmacro %}
