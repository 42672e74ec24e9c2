with

{% for rank in range(1, 5) -%}
names_{{ rank }} as (
    select
        provider_name,
        model_name_{{ rank }} as model_name,
        line_count
    from {{ ref('int_billing__charges_worded') }}
    where model_name_{{ rank }} is not null
),

{% endfor -%}
names_of_reports as (
    select
        provider_name,
        model_name,
        1 as line_count
    from {{ ref('int_billing__reports_delivered') }}
    where model_name is not null
),

named as (
    select * from names_of_reports
    {%- for rank in range(1, 5) %}
    union all
    select * from names_{{ rank }}
    {%- endfor %}
),

final as (
    select
        provider_name,
        model_name,
        sum(line_count) as line_count
    from named
    group by provider_name, model_name
)

select * from final
