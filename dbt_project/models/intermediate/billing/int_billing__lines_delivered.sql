{{ config(materialized='view') }}

{%- for model in var('invoice_models') %}
select
    {{ content_hash(charge_wording_columns()) }} as charge_key,
    {{ invoice_columns() | join(',\n    ') }}
from {{ ref(model) }}
{{ 'union all' if not loop.last }}
{%- endfor %}
