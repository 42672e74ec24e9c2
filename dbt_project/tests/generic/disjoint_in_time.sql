{#-
    Rows of one key that differ in the member column never hold at the same time: [from, to), an open end being for ever.
    Every row that overlaps another is a violation.
-#}
{% test disjoint_in_time(model, key_columns, member_column, from_column='valid_from', to_column='valid_to') %}
    {%- set shown_columns = key_columns + [member_column, from_column, to_column]
        if member_column != from_column else key_columns + [from_column, to_column] -%}
    with judged_rows as (
        {{ judged(model, none) }}
    ),

    violating as (
        select distinct {% for column in shown_columns %}one.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
        from judged_rows as one
        inner join judged_rows as other
            on
                {% for column in key_columns -%}
                one.{{ column }} = other.{{ column }}
                and {% endfor -%}
                one.{{ member_column }} <> other.{{ member_column }}
                and one.{{ from_column }} < coalesce(other.{{ to_column }}, cast('9999-12-31' as date))
                and other.{{ from_column }} < coalesce(one.{{ to_column }}, cast('9999-12-31' as date))
    )

    {{ violations_of('overlapping', shown_columns, model, none) }}
{% endtest %}
