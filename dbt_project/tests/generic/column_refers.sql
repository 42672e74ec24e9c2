{#- The column is null or stands in a column of another table. -#}
{% test column_refers(model, column, to, field, shown_columns=[]) %}
    with judged_rows as (
        {{ judged(model, none) }}
    ),

    violating as (
        select {{ ([column] + shown_columns) | join(', ') }}
        from judged_rows
        where
            {{ column }} is not null
            and {{ column }} not in (select {{ field }} from {{ to }} where {{ field }} is not null)
    )

    {{ violations_of('refers_to_nothing', [column] + shown_columns, model, none) }}
{% endtest %}
