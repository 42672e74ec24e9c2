{% test all_present(model, columns, day_column=none) %}
    with judged_rows as (
        {{ judged(model, day_column) }}
    ),

    violating as (
        select {{ columns | join(', ') }}
        from judged_rows
        where {% for column in columns %}{{ column }} is null{{ ' or ' if not loop.last }}{% endfor %}
    )

    {{ violations_of('null', columns, model, day_column) }}
{% endtest %}
