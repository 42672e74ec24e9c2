{#-
    Cost and Usage of FOCUS is a union of charges of several origins. `focus_charge` writes the columns of one of them:
    those that it names, and null for the others, so that every origin has the same columns and types.
-#}
{% macro focus_charge_columns() -%}
    {{ return({
        'x_ChargeKey': 'varchar',
        'x_ChargeOrigin': 'varchar',
        'ChargeCategory': 'varchar',
        'ChargeClass': 'varchar',
        'ChargeFrequency': 'varchar',
        'ChargeDescription': 'varchar',
        'ServiceProviderName': 'varchar',
        'InvoiceIssuerName': 'varchar',
        'BillingAccountId': 'varchar',
        'SubAccountId': 'varchar',
        'InvoiceId': 'varchar',
        'InvoiceDetailId': 'varchar',
        'ServiceCategory': 'varchar',
        'ServiceName': 'varchar',
        'RegionId': 'varchar',
        'ResourceId': 'varchar',
        'SkuId': 'varchar',
        'SkuMeter': 'varchar',
        'SkuPriceId': 'varchar',
        'SkuPriceDetails': 'varchar',
        'PricingCategory': 'varchar',
        'PricingUnit': 'varchar',
        'ConsumedUnit': 'varchar',
        'CommitmentDiscountId': 'varchar',
        'CommitmentDiscountStatus': 'varchar',
        'CommitmentDiscountUnit': 'varchar',
        'Tags': 'varchar',
        'x_CauseType': 'varchar',
        'AllocationKey': 'varchar',
        'PricingQuantity': 'decimal(28, 9)',
        'ConsumedQuantity': 'decimal(28, 9)',
        'CommitmentDiscountQuantity': 'decimal(28, 9)',
        'ListUnitPrice': 'decimal(38, 18)',
        'ContractedUnitPrice': 'decimal(38, 18)',
        'ListCost': 'decimal(38, 18)',
        'ContractedCost': 'decimal(38, 18)',
        'BilledCost': 'decimal(38, 18)',
        'EffectiveCost': 'decimal(38, 18)',
        'BillingPeriodStart': 'timestamp with time zone',
        'BillingPeriodEnd': 'timestamp with time zone',
        'ChargePeriodStart': 'timestamp with time zone',
        'ChargePeriodEnd': 'timestamp with time zone',
    }) }}
{%- endmacro %}

{% macro focus_charge(values) -%}
    {%- for name, type in focus_charge_columns().items() %}
    cast({{ values.get(name, 'null') }} as {{ type }}) as {{ name }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#- Units in FOCUS's format: plural, capitalised, words joined by hyphens. -#}
{% macro focus_unit(unit_name) -%}
    concat(
        upper(substring({{ unit_name }}, 1, 1)), replace(substring({{ unit_name }}, 2), '_', '-'),
        case when {{ unit_name }} like '%ch' then 'es' else 's' end
    )
{%- endmacro %}

{#- An amount in USD in whole units of 1e-9 USD, as a number that can be multiplied. -#}
{% macro nano_usd(amount_usd) -%}
    cast(cast({{ amount_usd }} as decimal(28, 9)) * cast(1000000000 as decimal(10, 0)) as decimal(38, 0))
{%- endmacro %}

{#- Unit-hours of a commitment that an amount pays for, to the ninth decimal, downwards. -#}
{% macro unit_hours_of(amount_usd, usd_per_unit_hour) -%}
    cast(
            cast({{ integer_divide(
                nano_usd(amount_usd) ~ ' * cast(1000000000 as decimal(10, 0))', nano_usd(usd_per_unit_hour)
            ) }} as decimal(28, 0)) * cast(0.000000001 as decimal(10, 9))
            as decimal(28, 9)
        )
{%- endmacro %}

{#- The service categories that FOCUS allows. -#}
{% macro focus_service_categories() -%}
    {{ return([
        'AI and Machine Learning', 'Analytics', 'Business Applications', 'Compute', 'Databases', 'Developer Tools',
        'Identity', 'Integration', 'Internet of Things', 'Management and Governance', 'Media', 'Migration', 'Mobile',
        'Multicloud', 'Networking', 'Other', 'Security', 'Storage', 'Web',
    ]) }}
{%- endmacro %}

{#- A text as the inside of a JSON string. Character 92 is the backslash, which engines write differently. -#}
{% macro json_escaped(text) -%}
    replace(replace({{ text }}, chr(92), concat(chr(92), chr(92))), '"', concat(chr(92), '"'))
{%- endmacro %}
