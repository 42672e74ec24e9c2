{{ config(materialized='view') }}

{%- for model in var('usage_models') %}
select
    {{ usage_columns() | join(',\n    ') }}
from {{ ref(model) }}
where is_usage_record
{{ 'union all' if not loop.last }}
{%- endfor %}
