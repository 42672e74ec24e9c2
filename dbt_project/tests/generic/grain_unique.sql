{% test grain_unique(model, columns, day_column=none) %}
    with judged_rows as (
        {{ judged(model, day_column) }}
    ),

    violating as (
        select {{ columns | join(', ') }}
        from judged_rows
        group by {{ columns | join(', ') }}
        having count(*) > 1
    )

    {{ violations_of('not_unique', columns, model, day_column) }}
{% endtest %}
