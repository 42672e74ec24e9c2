{% test all_at_least_zero(model, columns, day_column=none) %}
    with judged_rows as (
        {{ judged(model, day_column) }}
    ),

    violating as (
        select {{ columns | join(', ') }}
        from judged_rows
        where {% for column in columns %}{{ column }} < 0{{ ' or ' if not loop.last }}{% endfor %}
    )

    {{ violations_of('below_zero', columns, model, day_column) }}
{% endtest %}
