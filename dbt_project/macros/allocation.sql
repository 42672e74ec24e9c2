{#- The layers of a bill of materials, in the order in which they are shown. Unused capacity stands apart from used. -#}
{% macro bom_layers() -%}
    {{ return([
        'model_calls', 'embeddings', 'capacity', 'idle_capacity', 'unallocated_capacity', 'vector_store', 'storage',
        'egress', 'logging', 'guardrails', 'evaluation', 'human_review', 'support', 'licences', 'tax', 'credit', 'other',
    ]) }}
{%- endmacro %}

{#- The figures by which a rule can spread a charge, and the column of a day's use that counts each. -#}
{% macro allocation_drivers() -%}
    {{ return([
        'call_count', 'input_tokens', 'output_tokens', 'contracted_cost_usd', 'effective_cost_usd', 'capacity_cost_usd',
    ]) }}
{%- endmacro %}

{#- Does a rule's pattern, in which a star stands for any text and null for everything, cover a charge's text? -#}
{% macro pattern_covers(pattern, text) -%}
    ({{ pattern }} is null or lower(coalesce({{ text }}, '')) like replace(lower({{ pattern }}), '*', '%'))
{%- endmacro %}

{#- A figure as a weight in whole numbers: money counts in units of 1e-9 USD. -#}
{% macro driver_weight(units, driver) -%}
    cast(floor({{ units }}{{ ' * 1000000000' if driver.endswith('_usd') }}) as decimal(38, 0))
{%- endmacro %}
