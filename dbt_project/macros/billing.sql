{#- The canonical columns of a staging model of bills and cost reports, in order. -#}
{% macro invoice_columns() -%}
    {{ return([
        'source_name', 'invoice_line_id', 'document_type', 'invoice_id', 'provider_name', 'invoice_issuer_name',
        'billing_account_id', 'sub_account_id', 'billing_currency_code', 'charge_type', 'charge_class_type',
        'charge_description', 'charge_frequency_type', 'service_category_type', 'service_name', 'sku_id',
        'sku_meter_name', 'model_name', 'service_tier', 'unit_kind_type', 'commitment_id', 'resource_id',
        'resource_name', 'region_id', 'pricing_unit', 'consumed_unit', 'delivery_id', 'restated_period_type',
        'input_uri', 'tags_json', 'record_index',
        'billed_cost_in_billing_currency', 'effective_cost_in_billing_currency', 'list_cost_in_billing_currency',
        'contracted_cost_in_billing_currency', 'pricing_quantity_units', 'consumed_quantity_units',
        'billing_period_start_at', 'billing_period_end_at', 'charge_period_start_at', 'charge_period_end_at',
        'landed_at', 'event_date',
    ]) }}
{%- endmacro %}

{#- The columns whose words say what a charge is for: charges that agree in all of them are of one wording. -#}
{% macro charge_wording_columns() -%}
    {{ return([
        'provider_name', 'charge_type', 'service_category_type', 'service_name', 'charge_description', 'sku_id',
        'sku_meter_name', 'consumed_unit', 'model_name', 'service_tier', 'unit_kind_type',
    ]) }}
{%- endmacro %}

{#- The canonical columns of a staging model of providers' usage reports, in order. -#}
{% macro report_columns() -%}
    {{ return([
        'source_name', 'report_line_id', 'provider_name', 'billing_account_id', 'endpoint_type', 'model_name',
        'service_tier', 'region_id', 'project_id', 'api_key_id', 'is_workbench', 'reject_reason', 'input_uri', 'record_index',
        'quantities', 'reported_input_tokens', 'reported_output_tokens', 'request_count', 'bucket_start_at',
        'bucket_end_at', 'landed_at', 'event_date',
    ]) }}
{%- endmacro %}

{#- A pattern of people (`*` for any text, in either case) as a pattern of `like` with the escape `!`. -#}
{% macro like_of(pattern) -%}
    replace(
            replace(replace(replace(lower({{ pattern }}), '!', '!!'), '_', '!_'), '%', '!%'),
            '*',
            '%'
        )
{%- endmacro %}

{#- When each rate of exchange holds: until the currency's next one. -#}
{% macro exchange_rate_intervals() -%}
    select
        pricing_currency,
        usd_per_currency_unit,
        cast(valid_from_date as timestamp with time zone) as valid_from_at,
        coalesce(
            lead(cast(valid_from_date as timestamp with time zone)) over (
                partition by pricing_currency
                order by valid_from_date
            ),
            {{ end_of_time() }}
        ) as valid_to_at
    from {{ ref('seed_exchange_rates') }}
{%- endmacro %}

{#-
    An amount times a rate of exchange as decimal(38, 18). Whole units and the rest are multiplied apart, each exactly:
    an amount of 18 decimals times a rate of 12 has 30, which leaves no room for large amounts in 38 digits. Beyond the
    18th decimal the product is rounded, once.
-#}
{% macro converted(amount, usd_per_unit) -%}
    cast(
            cast({{ amount }} as decimal(19, 0)) * cast({{ usd_per_unit }} as decimal(18, 12))
            + cast(
                cast({{ amount }} - cast({{ amount }} as decimal(19, 0)) as decimal(18, 18))
                * cast({{ usd_per_unit }} as decimal(18, 12))
                as decimal(38, 18)
            )
            as decimal(38, 18)
        )
{%- endmacro %}

{#- The first of some keys that a column of JSON objects has; a text that is no JSON has none. -#}
{% macro json_text_of_keys(columns, keys) -%}
    coalesce(
        {%- for column in columns %}
        {%- set is_last_column = loop.last %}
        {%- for key in keys %}
            {{ json_text_at(column, key) }}{{ ',' if not (is_last_column and loop.last) }}
        {%- endfor %}
        {%- endfor %}
        )
{%- endmacro %}

{#- The service tier that a text names as a word of its own; null when it names none. -#}
{% macro service_tier_in(text) -%}
    case
        {%- for tier in ['batch', 'flex', 'priority', 'standard'] %}
        when {{ regexp_found(text, "'(^|[^a-z])" ~ tier ~ "([^a-z]|$)'") }} then '{{ tier }}'
        {%- endfor %}
    end
{%- endmacro %}

{#-
    A result of a provider's cost report as a line of a bill. The report is of calendar months in UTC and states each of
    its days anew; what lowers the cost is a credit. `columns` are those that differ between providers.
-#}
{% macro cost_report_line(provider_name, columns) -%}
        source_name,
        concat(input_uri, ':', record_index) as invoice_line_id,
        'cost_report' as document_type,
        cast(null as varchar) as invoice_id,
        '{{ provider_name }}' as provider_name,
        '{{ provider_name }}' as invoice_issuer_name,
        billing_account_id,
        project_id as sub_account_id,
        currency as billing_currency_code,
        case when amount < 0 then 'Credit' else 'Usage' end as charge_type,
        cast(null as varchar) as charge_class_type,
        line_name as charge_description,
        'Usage-Based' as charge_frequency_type,
        cast(null as varchar) as service_category_type,
        {{ columns.service_name }} as service_name,
        cast(null as varchar) as sku_id,
        cast(null as varchar) as sku_meter_name,
        model_name,
        {{ columns.service_tier }} as service_tier,
        {{ columns.unit_kind_type }} as unit_kind_type,
        cast(null as varchar) as commitment_id,
        cast(null as varchar) as resource_id,
        cast(null as varchar) as resource_name,
        {{ columns.region_id }} as region_id,
        quantity_unit as pricing_unit,
        {{ columns.consumed_unit }} as consumed_unit,
        input_uri as delivery_id,
        'charge_period' as restated_period_type,
        input_uri,
        cast(null as varchar) as tags_json,
        record_index,
        amount as billed_cost_in_billing_currency,
        amount as effective_cost_in_billing_currency,
        list_amount as list_cost_in_billing_currency,
        amount as contracted_cost_in_billing_currency,
        quantity as pricing_quantity_units,
        {{ columns.consumed_quantity_units }} as consumed_quantity_units,
        date_trunc('month', bucket_start_at) as billing_period_start_at,
        date_trunc('month', bucket_start_at) + interval '1' month as billing_period_end_at,
        bucket_start_at as charge_period_start_at,
        bucket_end_at as charge_period_end_at,
        landed_at,
        event_date
{%- endmacro %}

{#- The least of some counts, one that is unknown being 0. -#}
{% macro least_count(counts) -%}
    least(
                {%- for count in counts %}
                coalesce({{ count }}, 0){{ ',' if not loop.last }}
                {%- endfor %}
            )
{%- endmacro %}
