{#-
    Value equations reach dbt as compiled SQL over `kpi_<name>` columns and `cost_usd`
    (`dagster_project/warehouse/value_equations.py`).
-#}

{#- The KPI names that any equation reads, sorted. -#}
{% macro equation_kpi_names() -%}
    {%- set names = [] -%}
    {%- for equation in var('value_equations') -%}
        {%- for name in equation['kpi_names'] -%}
            {%- if name not in names -%}{%- do names.append(name) -%}{%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(names | sort) }}
{%- endmacro %}

{#- Does the equation hold for the instance? -#}
{% macro equation_applies(equation) -%}
    use_case_id = '{{ equation['use_case_id'] }}'
    and started_date >= cast('{{ equation['valid_from'] }}' as date)
    {%- if equation['valid_to'] %}
    and started_date < cast('{{ equation['valid_to'] }}' as date)
    {%- endif %}
{%- endmacro %}

{#-
    Σ of the equations of one result (`money` or `time`) that hold for the instance; null when none does or
    when one of them lacks an input.
-#}
{% macro value_of(result) -%}
    {%- set equations = [] -%}
    {%- for equation in var('value_equations') if equation['result'] == result -%}
        {%- do equations.append(equation) -%}
    {%- endfor -%}
    {%- if not equations -%}
        cast(null as decimal(28, 9))
    {%- else -%}
        case
            when {% for equation in equations %}({{ equation_applies(equation) }}){{ ' or ' if not loop.last }}{% endfor %}
                then
                    {% for equation in equations -%}
                    {{ '+ ' if not loop.first }}case
                        when {{ equation_applies(equation) }} then cast({{ equation['sql'] }} as decimal(28, 9))
                        else cast(0 as decimal(28, 9))
                    end
                    {% endfor %}
        end
    {%- endif -%}
{%- endmacro %}
