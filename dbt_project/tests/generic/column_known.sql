{#- The column is one of the values, or null where that is allowed. -#}
{% test column_known(model, column, values, is_null_allowed=false, day_column=none) %}
    with judged_rows as (
        {{ judged(model, day_column) }}
    ),

    violating as (
        select {{ column }}
        from judged_rows
        where
            {{ column }} not in ({% for value in values %}'{{ value }}'{{ ', ' if not loop.last }}{% endfor %})
            {%- if not is_null_allowed %}
            or {{ column }} is null
            {%- endif %}
    )

    {{ violations_of('unknown_value', [column], model, day_column) }}
{% endtest %}
