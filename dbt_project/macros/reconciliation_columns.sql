{#-
    In a file of their own: outside dbt, where the linter is, a macro takes the first return of a macro that is called in
    its own file for the return of the caller.
-#}

{#- What tells one billing period from another. -#}
{% macro period_columns() -%}
    {{ return(['provider_name', 'billing_account_id', 'billing_period_start_date']) }}
{%- endmacro %}

{#- The columns at which what was used is compared with what was billed. -#}
{% macro compared_columns() -%}
    {{ return(['model_id', 'service_tier', 'unit_kind_type']) }}
{%- endmacro %}
