{#-
    `latest_day_only` is for a view whose grain follows from its tables': it judges one day of the window. With
    `shown_columns` every row of a repeated key is a violation and is shown; without, every repeated key is one.
    `is_empty_allowed` is for a list that may rightly have no rows, such as one of what is wrong.
-#}
{% test grain_unique(
    model, columns, day_column=none, latest_day_only=false, shown_columns=[], is_empty_allowed=false
) %}
    with judged_rows as (
        {%- if latest_day_only %}
        select *
        from {{ model }}
        where {{ day_column }} = (
            select max(latest.{{ day_column }})
            from {{ model }} as latest
            where latest.{{ day_column }} <= {{ window_end() }}
        )
        {%- else %}
        {{ judged(model, day_column) }}
        {%- endif %}
    ),

    {% if shown_columns -%}
    counted as (
        select
            *,
            count(*) over (partition by {{ columns | join(', ') }}) as row_count
        from judged_rows
    ),

    violating as (
        select {{ (columns + shown_columns) | join(', ') }}
        from counted
        where row_count > 1
    )
    {%- else -%}
    violating as (
        select {{ columns | join(', ') }}
        from judged_rows
        group by {{ columns | join(', ') }}
        having count(*) > 1
    )
    {%- endif %}

    {{ violations_of('not_unique', columns + shown_columns, model, day_column, is_empty_allowed) }}
{% endtest %}
