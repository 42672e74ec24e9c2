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
        'modified_at', 'landed_at', 'event_date',
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
        'bucket_end_at', 'modified_at', 'landed_at', 'event_date',
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

{#- The UTC day that begins nearest to an instant: a period of another time zone begins some hours off midnight UTC. -#}
{% macro nearest_date(instant) -%}
    cast({{ instant }} + interval '12' hour as date)
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
    How many units a pricing unit has that says so in words: `1K tokens`, `1000 Tokens` and `per thousand tokens` have
    1,000. 1 where it says nothing.
-#}
{% macro size_of_unit(unit) -%}
    case
            {%- for size, words in {1000: 'k|1000|thousand', 1000000: 'm|1000000|million'}.items() %}
            when {{ regexp_found("replace(lower(" ~ unit ~ "), ',', '')", "'^(per )?(1 ?)?(" ~ words ~ ")( .*)?$'") }}
                then {{ size }}
            {%- endfor %}
            else 1
        end
{%- endmacro %}

{#- The unit in which a quantity of thousands or millions of tokens is consumed; any other unit as it is. -#}
{% macro single_unit_of(unit) -%}
    case when {{ size_of_unit(unit) }} > 1 and lower({{ unit }}) like '%token%' then 'Tokens' else {{ unit }} end
{%- endmacro %}

{#- A quantity in the unit that `single_unit_of` gives. -#}
{% macro single_units_of(quantity, unit) -%}
    cast(
            {{ quantity }} * case when lower({{ unit }}) like '%token%' then {{ size_of_unit(unit) }} else 1 end
            as decimal(38, 18)
        )
{%- endmacro %}

{#-
    The canonical columns of a bill's line. `columns` are those that the bill has; of the others, what every landed
    line has is itself, and what is left is unknown.
-#}
{% macro bill_line(columns) -%}
    {%- set landed = {
        'source_name': 'source_name',
        'invoice_line_id': "concat(input_uri, ':', record_index)",
        'document_type': "'invoice'",
        'delivery_id': 'delivery_id',
        'restated_period_type': 'restated_period',
        'input_uri': 'input_uri',
        'record_index': 'record_index',
        'modified_at': 'modified_at',
        'landed_at': 'landed_at',
        'event_date': 'event_date',
    } -%}
    {%- for column in invoice_columns() %}
        {%- set is_number = column.endswith('_units') or column.endswith('_in_billing_currency') -%}
        {%- set unknown = 'cast(null as ' ~ ('decimal(38, 18)' if is_number else 'varchar') ~ ')' %}
        {%- set value = columns.get(column, landed.get(column, unknown)) %}
        {{ value }}{{ ' as ' ~ column if value != column }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#-
    A result of a provider's cost report as a line of a bill. The report is of calendar months in UTC and states each of
    its days anew; what lowers the cost is a credit. `columns` are those that differ between providers.
-#}
{% macro cost_report_line(provider_name, columns) -%}
    {{ bill_line(dict(
        {
            'document_type': "'cost_report'",
            'provider_name': "'" ~ provider_name ~ "'",
            'invoice_issuer_name': "'" ~ provider_name ~ "'",
            'billing_account_id': 'billing_account_id',
            'sub_account_id': 'project_id',
            'billing_currency_code': 'currency',
            'charge_type': "case when amount < 0 then 'Credit' else 'Usage' end",
            'charge_description': 'line_name',
            'charge_frequency_type': "'Usage-Based'",
            'model_name': 'model_name',
            'pricing_unit': 'quantity_unit',
            'delivery_id': 'input_uri',
            'restated_period_type': "'charge_period'",
            'billed_cost_in_billing_currency': 'amount',
            'effective_cost_in_billing_currency': 'amount',
            'list_cost_in_billing_currency': 'list_amount',
            'contracted_cost_in_billing_currency': 'amount',
            'pricing_quantity_units': 'quantity',
            'billing_period_start_at': "date_trunc('month', bucket_start_at)",
            'billing_period_end_at': "date_trunc('month', bucket_start_at) + interval '1' month",
            'charge_period_start_at': 'bucket_start_at',
            'charge_period_end_at': 'bucket_end_at',
        },
        **columns
    )) }}
{%- endmacro %}

{#- The least of some counts, one that is unknown being 0. -#}
{% macro least_count(counts) -%}
    least(
                {%- for count in counts %}
                coalesce({{ count }}, 0){{ ',' if not loop.last }}
                {%- endfor %}
            )
{%- endmacro %}
