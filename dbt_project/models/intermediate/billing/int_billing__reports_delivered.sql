{{ config(materialized='view') }}

{%- for model in var('report_models') %}
select
    {{ report_columns() | join(',\n    ') }}
from {{ ref(model) }}
{{ 'union all' if not loop.last }}
{%- endfor %}
