{#-
    The condition must be true for every judged row: unknown is a violation. `is_empty_allowed` is for a table that may
    rightly have no rows.
-#}
{% test condition_holds(model, condition, shown_columns, day_column=none, is_empty_allowed=false) %}
    with judged_rows as (
        {{ judged(model, day_column) }}
    ),

    violating as (
        select {{ shown_columns | join(', ') }}
        from judged_rows
        where coalesce(not ({{ condition }}), true)
    )

    {{ violations_of('condition_broken', shown_columns, model, day_column, is_empty_allowed) }}
{% endtest %}
