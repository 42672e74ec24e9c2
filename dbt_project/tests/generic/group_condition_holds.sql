{#- The condition over aggregates must be true for every group of rows: unknown is a violation. -#}
{% test group_condition_holds(model, group_columns, condition, only=none) %}
    with judged_rows as (
        {{ judged(model, none) }}
    ),

    violating as (
        select {{ group_columns | join(', ') }}
        from judged_rows
        {%- if only %}
        where {{ only }}
        {%- endif %}
        group by {{ group_columns | join(', ') }}
        having coalesce(not ({{ condition }}), true)
    )

    {{ violations_of('condition_broken', group_columns, model, none) }}
{% endtest %}
