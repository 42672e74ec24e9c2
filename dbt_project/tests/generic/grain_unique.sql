{#- `latest_day_only` is for a view whose grain follows from its tables': it judges one day of the window. -#}
{% test grain_unique(model, columns, day_column=none, latest_day_only=false) %}
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

    violating as (
        select {{ columns | join(', ') }}
        from judged_rows
        group by {{ columns | join(', ') }}
        having count(*) > 1
    )

    {{ violations_of('not_unique', columns, model, day_column) }}
{% endtest %}
