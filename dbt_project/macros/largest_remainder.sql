{#-
    Splits an exact amount over the rows of each partition by weight, in whole quanta of 1e-9 USD, so that the parts add
    up to the amount to its last digit: a query over `relation` that gives `columns` and the part as `result_column`,
    a decimal(38,18).

    Each row gets the whole quanta of its quota; the quanta that are left go, one each, to the largest remainders, equal
    ones in the order of `order_columns`. What is less than one quantum goes to the first row that has a weight. The
    result depends on nothing but the rows: `order_columns` must tell the rows of a partition apart.

    `weight_column` holds whole numbers; null and negative ones count as 0. `amount_column` is the same in all rows of a
    partition, of either sign, and below a billion USD. Names that begin with `split_` are the macro's own. Where no row
    has a weight, `without_weight` decides: 'even' gives every row the same, 'null' gives null, which the caller has to
    name.
-#}
{% macro largest_remainder(
    relation, columns, partition_columns, order_columns, weight_column, amount_column, result_column,
    without_weight='even'
) -%}
    {%- if without_weight not in ('even', 'null') -%}
        {{ exceptions.raise_compiler_error("without_weight is 'even' or 'null', not '" ~ without_weight ~ "'") }}
    {%- endif -%}
    {%- set partition = "partition by " ~ partition_columns | join(', ') -%}
    {%- set in_order = order_columns | join(' asc nulls last, ') ~ " asc nulls last" -%}
    with

    weighed as (
        select
            *,
            case when {{ weight_column }} > 0 then cast({{ weight_column }} as decimal(38, 0)) else 0 end
                as split_own_weight,
            case when {{ amount_column }} < 0 then -1 else 1 end as split_amount_sign,
            cast(
                floor(cast(abs({{ amount_column }}) as decimal(27, 18)) * cast(1000000000 as decimal(10, 0)))
                as decimal(18, 0)
            ) as split_amount_quanta
        from {{ relation }}
    ),

    totalled as (
        select
            *,
            sum(split_own_weight) over ({{ partition }}) as split_own_weight_sum
        from weighed
    ),

    weighted as (
        select
            *,
            {%- if without_weight == 'even' %}
            case when split_own_weight_sum = 0 then 1 else split_own_weight end as split_weight,
            case when split_own_weight_sum = 0 then count(*) over ({{ partition }}) else split_own_weight_sum end
                as split_weight_sum
            {%- else %}
            split_own_weight as split_weight,
            case when split_own_weight_sum > 0 then split_own_weight_sum end as split_weight_sum
            {%- endif %}
        from totalled
    ),

    divided as (
        select
            *,
            {{ integer_divide('split_amount_quanta * split_weight', 'split_weight_sum') }} as split_row_quanta
        from weighted
    ),

    ranked as (
        select
            *,
            split_amount_quanta - sum(split_row_quanta) over ({{ partition }}) as split_left_quanta,
            row_number() over (
                {{ partition }}
                order by split_amount_quanta * split_weight - split_row_quanta * split_weight_sum desc, {{ in_order }}
            ) as split_remainder_index,
            row_number() over (
                {{ partition }} order by case when split_weight > 0 then 0 else 1 end asc, {{ in_order }}
            ) as split_row_index
        from divided
    ),

    parted as (
        select
            *,
            cast(
                cast(
                    split_row_quanta + case when split_remainder_index <= split_left_quanta then 1 else 0 end
                    as decimal(18, 0)
                )
                * cast(0.000000001 as decimal(10, 9))
                as decimal(38, 18)
            ) as split_quanta_usd,
            cast(abs({{ amount_column }}) as decimal(38, 18))
            - cast(split_amount_quanta * cast(0.000000001 as decimal(10, 9)) as decimal(38, 18))
                as split_sub_quantum_usd
        from ranked
    )

    select
        {% for column in columns -%}
        {{ column }},
        {% endfor -%}
        cast(
            split_amount_sign
            * (split_quanta_usd + case when split_row_index = 1 then split_sub_quantum_usd else 0 end)
            as decimal(38, 18)
        ) as {{ result_column }}
    from parted
{%- endmacro %}
