{%- set account_columns = {
    'ServiceProviderName': 'provider_name',
    'InvoiceIssuerName': 'issuer_name',
    'BillingAccountId': 'account_id',
    'BillingPeriodStart': 'billing_period_start_at',
    'BillingPeriodEnd': 'billing_period_end_at',
} -%}
{#- ContractApplied between its values: the commitment twice, unit-hours, unit. -#}
{%- set applied_json = [
    '{"Elements":[{"ContractId":"',
    '","ContractCommitmentId":"',
    '","ContractCommitmentAppliedQuantity":',
    ',"ContractCommitmentAppliedUnit":"',
    '"}]}',
] -%}
{#- AllocatedMethodDetails around its ratio. -#}
{%- set ratio_json = ['{"Elements":[{"AllocatedRatio":', '}]}'] -%}
{%- set target_columns = ['use_case_id', 'team_name', 'environment_name', 'customer_id'] -%}
{%- set ai_service = {'ServiceCategory': "'AI and Machine Learning'"} -%}
{%- set day_columns = {
    'ChargePeriodStart': 'event_date',
    'ChargePeriodEnd': "event_date + interval '1 day'",
} -%}
with

daily_charges as (
    select * from {{ ref('int_allocation__daily_charges') }}
),

unit_kinds as (
    select * from {{ ref('seed_unit_kinds') }}
),

commitments as (
    select * from {{ ref('dim_commitments') }}
),

commitment_terms as (
    select * from {{ ref('seed_commitments') }}
),

-- Hours of bought capacity at the price of their term.
capacity_hours as (
    select
        hours.*,
        terms.usd_per_unit_hour
    from {{ ref('fct_capacity_hours') }} as hours
    inner join commitment_terms as terms
        on
            hours.commitment_id = terms.commitment_id
            and hours.hour_at >= terms.starts_at
            and hours.hour_at < terms.ends_at
),

invoice_lines as (
    select * from {{ ref('fct_invoice_lines') }}
),

period_charges as (
    select * from {{ ref('fct_period_charges') }}
),

cost_allocations as (
    select * from {{ ref('fct_cost_allocations') }}
),

-- An invoice is the bill of its account and period; a cost report stands in for it until it comes.
bill_lines as (
    select
        *,
        coalesce(billing_account_id, 'unknown') as account_id,
        coalesce(invoice_issuer_name, provider_name) as issuer_name,
        case when document_type = 'invoice' then invoice_id end as billed_invoice_id,
        case when document_type = 'invoice' and invoice_id is not null then invoice_line_id end as invoice_detail_id
    from invoice_lines
    where is_bill and billed_cost_usd is not null
),

bills as (
    select
        provider_name,
        account_id,
        billing_period_start_at,
        max(billing_period_end_at) as billing_period_end_at,
        min(issuer_name) as issuer_name
    from bill_lines
    group by provider_name, account_id, billing_period_start_at
),

issuers as (
    select
        provider_name,
        min(issuer_name) as issuer_name
    from bills
    group by provider_name
),

-- Which bill a day belongs to: that of the account, or of the only account that the provider bills for the day.
days as (
    select
        provider_name,
        billing_account_id,
        event_date
    from daily_charges
    group by provider_name, billing_account_id, event_date
    union
    select
        commitments.provider_name,
        cast(null as varchar) as billing_account_id,
        capacity_hours.event_date
    from capacity_hours
    inner join commitments on capacity_hours.commitment_id = commitments.commitment_id
    group by commitments.provider_name, capacity_hours.event_date
),

days_matched as (
    select
        days.provider_name,
        days.billing_account_id as known_account_id,
        days.event_date,
        count(bills.provider_name) as bill_count,
        min(bills.account_id) as account_id,
        min(bills.billing_period_start_at) as billing_period_start_at,
        max(bills.billing_period_end_at) as billing_period_end_at,
        min(bills.issuer_name) as issuer_name
    from days
    left join bills
        on
            days.provider_name = bills.provider_name
            and coalesce(days.billing_account_id, bills.account_id) = bills.account_id
            and cast(bills.billing_period_start_at as date) <= days.event_date
            and cast(bills.billing_period_end_at as date) > days.event_date
    group by days.provider_name, days.billing_account_id, days.event_date
),

billed_days as (
    select
        days_matched.provider_name,
        days_matched.known_account_id,
        days_matched.event_date,
        days_matched.bill_count = 1 as is_billed,
        coalesce(
            days_matched.known_account_id,
            case when days_matched.bill_count = 1 then days_matched.account_id end,
            'unknown'
        ) as account_id,
        coalesce(
            case when days_matched.bill_count = 1 then days_matched.issuer_name end,
            issuers.issuer_name,
            days_matched.provider_name,
            'unknown'
        ) as issuer_name,
        coalesce(
            case when days_matched.bill_count = 1 then days_matched.billing_period_start_at end,
            cast(date_trunc('month', days_matched.event_date) as timestamp with time zone)
        ) as billing_period_start_at,
        coalesce(
            case when days_matched.bill_count = 1 then days_matched.billing_period_end_at end,
            cast(date_trunc('month', days_matched.event_date) + interval '1 month' as timestamp with time zone)
        ) as billing_period_end_at
    from days_matched
    left join issuers on days_matched.provider_name = issuers.provider_name
),

-- What has no price is left out and counted in the manifest: FOCUS has no null cost, and 0 would be a price. A request
-- is a charge where a card prices it, and where it holds what a call took of bought capacity.
priced_charges as (
    select
        daily_charges.*,
        coalesce(daily_charges.model_id, daily_charges.model_name) as sku_model_id,
        {{ content_hash(daily_charge_columns()) }} as charge_id
    from daily_charges
    where
        daily_charges.pricing_status_type in ('priced', 'provisioned')
        and daily_charges.effective_cost_usd is not null
        and (
            daily_charges.unit_kind_type <> 'request'
            or daily_charges.list_usd_per_unit is not null
            or daily_charges.effective_cost_usd <> 0
        )
),

-- Free units are a row of their own at a contracted price of 0, so that cost is price times quantity in each.
sold_and_free as (
    select
        *,
        'sold' as sale_type,
        quantity_units - free_units as sold_units,
        case when pricing_status_type = 'provisioned' then 0 else contracted_usd_per_unit end as sold_usd_per_unit,
        effective_cost_usd as sold_effective_cost_usd
    from priced_charges
    where quantity_units > free_units
    union all
    select
        *,
        'free' as sale_type,
        free_units as sold_units,
        0 as sold_usd_per_unit,
        0 as sold_effective_cost_usd
    from priced_charges
    where free_units > 0
),

call_lines as (
    select *
    from bill_lines
    where driver_type = 'calls'
),

meters as (
    select
        provider_name,
        billing_account_id,
        event_date,
        sku_model_id,
        service_tier,
        unit_kind_type
    from priced_charges
    where pricing_status_type = 'priced'
    group by provider_name, billing_account_id, event_date, sku_model_id, service_tier, unit_kind_type
),

-- A kind that the bill does not list by itself is billed as the kind that would price it.
billed_kinds as (
    select
        unit_kind as unit_kind_type,
        unit_kind as billed_unit_kind_type,
        0 as fallback_index
    from unit_kinds
    {%- for kind, fallbacks in price_fallbacks().items() %}
    {%- for fallback in fallbacks %}
    union all
    select
        '{{ kind }}' as unit_kind_type,
        '{{ fallback }}' as billed_unit_kind_type,
        {{ loop.index }} as fallback_index
    {%- endfor %}
    {%- endfor %}
),

-- The line that bills a meter is the one that says most about it.
lines_ranked as (
    select
        meters.provider_name,
        meters.billing_account_id as known_account_id,
        meters.event_date,
        meters.sku_model_id,
        meters.service_tier,
        meters.unit_kind_type,
        call_lines.invoice_line_id,
        row_number() over (
            partition by
                meters.provider_name, meters.billing_account_id, meters.event_date, meters.sku_model_id,
                meters.service_tier, meters.unit_kind_type
            order by
                case when call_lines.unit_kind_type is null then 1 else 0 end asc,
                billed_kinds.fallback_index asc,
                case when call_lines.model_id is null then 1 else 0 end
                + case when call_lines.service_tier is null then 1 else 0 end asc,
                call_lines.charge_period_start_at desc,
                call_lines.invoice_line_id asc
        ) as line_rank
    from meters
    inner join billed_days
        on
            meters.provider_name = billed_days.provider_name
            and coalesce(meters.billing_account_id, '') = coalesce(billed_days.known_account_id, '')
            and meters.event_date = billed_days.event_date
    inner join billed_kinds on meters.unit_kind_type = billed_kinds.unit_kind_type
    inner join call_lines
        on
            billed_days.provider_name = call_lines.provider_name
            and billed_days.account_id = call_lines.account_id
            and cast(call_lines.charge_period_start_at as date) <= meters.event_date
            and cast(call_lines.charge_period_end_at as date) > meters.event_date
            and coalesce(call_lines.model_id, meters.sku_model_id) = meters.sku_model_id
            and coalesce(call_lines.service_tier, meters.service_tier) = meters.service_tier
            and coalesce(call_lines.unit_kind_type, billed_kinds.billed_unit_kind_type)
            = billed_kinds.billed_unit_kind_type
    where billed_days.is_billed
),

-- A day that has a bill is billed by its lines alone; before there is one, the contracted cost is what will be billed.
usage_billed as (
    select
        sold_and_free.*,
        unit_kinds.direction_type,
        {{ focus_unit("coalesce(unit_kinds.unit_name, 'unit')") }} as focus_unit,
        cast(sold_and_free.sold_units * coalesce(sold_and_free.list_usd_per_unit, 0) as decimal(38, 18))
            as sold_list_cost_usd,
        cast(sold_and_free.sold_units * sold_and_free.sold_usd_per_unit as decimal(38, 18)) as sold_contracted_cost_usd,
        lines_ranked.invoice_line_id,
        billed_days.account_id,
        billed_days.issuer_name,
        billed_days.billing_period_start_at,
        billed_days.billing_period_end_at,
        lines_ranked.invoice_line_id is not null or not billed_days.is_billed as is_to_be_billed
    from sold_and_free
    inner join billed_days
        on
            sold_and_free.provider_name = billed_days.provider_name
            and coalesce(sold_and_free.billing_account_id, '') = coalesce(billed_days.known_account_id, '')
            and sold_and_free.event_date = billed_days.event_date
    left join unit_kinds on sold_and_free.unit_kind_type = unit_kinds.unit_kind
    left join lines_ranked
        on
            sold_and_free.pricing_status_type = 'priced'
            and sold_and_free.provider_name = lines_ranked.provider_name
            and coalesce(sold_and_free.billing_account_id, '') = coalesce(lines_ranked.known_account_id, '')
            and sold_and_free.event_date = lines_ranked.event_date
            and sold_and_free.sku_model_id = lines_ranked.sku_model_id
            and sold_and_free.service_tier = lines_ranked.service_tier
            and sold_and_free.unit_kind_type = lines_ranked.unit_kind_type
            and lines_ranked.line_rank = 1
),

-- Which commitment a deployment drew on, by day; none is named where it drew on several.
deployed as (
    select
        deployment_id,
        event_date,
        min(commitment_id) as commitment_id,
        max(usd_per_unit_hour) as usd_per_unit_hour
    from capacity_hours
    where deployment_id is not null and allocation_type = 'deployment'
    group by deployment_id, event_date
    having min(commitment_id) = max(commitment_id)
),

usage_described as (
    select
        usage_billed.*,
        bill_lines.billed_invoice_id,
        bill_lines.invoice_detail_id,
        commitments.commitment_id,
        commitments.unit_name as commitment_unit_name,
        deployed.usd_per_unit_hour,
        concat_ws(
            '/', usage_billed.provider_name, usage_billed.sku_model_id, usage_billed.service_tier,
            usage_billed.region_id, usage_billed.unit_kind_type
        ) as sku_id,
        usage_billed.sku_model_id as x_ModelId,
        usage_billed.service_tier as x_ServiceTier,
        usage_billed.unit_kind_type as x_UnitKind,
        case usage_billed.direction_type when 'input' then 'Input' when 'output' then 'Output' end as x_TokenDirection,
        case
            when usage_billed.unit_kind_type like 'cache_read%' then 'CacheRead'
            when usage_billed.unit_kind_type like 'cache_write%' then 'CacheWrite'
            when usage_billed.direction_type = 'input' then 'Uncached'
        end as x_TokenCacheAction
    from usage_billed
    left join bill_lines on usage_billed.invoice_line_id = bill_lines.invoice_line_id
    left join deployed
        on
            usage_billed.deployment_id = deployed.deployment_id
            and usage_billed.event_date = deployed.event_date
            and usage_billed.pricing_status_type = 'provisioned'
    left join commitments on deployed.commitment_id = commitments.commitment_id
),

usage_rows as (
    select
        {{- focus_charge(dict(account_columns, **dict(ai_service, **dict(day_columns, **{
            'x_ChargeKey': "concat('usage-', sale_type, '-', charge_id)",
            'x_ChargeOrigin': "'calls'",
            'ChargeCategory': "'Usage'",
            'ChargeFrequency': "'Usage-Based'",
            'ChargeDescription': "concat(sku_model_id, ', ', service_tier, ', ', replace(unit_kind_type, '_', ' '))",
            'InvoiceId': 'billed_invoice_id',
            'InvoiceDetailId': 'invoice_detail_id',
            'ServiceName': "'Model inference'",
            'RegionId': 'region_id',
            'ResourceId': 'deployment_id',
            'SkuId': 'sku_id',
            'SkuMeter': "concat(replace(unit_kind_type, '_', ' '), case focus_unit when 'Tokens' then ' tokens' else '' end)",
            'SkuPriceId': "concat(sku_id, '@', cast(coalesce(list_usd_per_unit, 0) as varchar))",
            'SkuPriceDetails': json_object_of(
                ['x_ModelId', 'x_ServiceTier', 'x_UnitKind', 'x_TokenDirection', 'x_TokenCacheAction']
            ),
            'PricingCategory': "case pricing_status_type when 'provisioned' then 'Committed' else 'Standard' end",
            'PricingUnit': 'focus_unit',
            'ConsumedUnit': 'focus_unit',
            'CommitmentDiscountId': 'commitment_id',
            'CommitmentDiscountStatus': "case when commitment_id is not null then 'Used' end",
            'CommitmentDiscountUnit': "case when commitment_id is not null then concat(commitment_unit_name, '-Hours') end",
            'CommitmentDiscountQuantity': unit_hours_of('sold_effective_cost_usd', 'usd_per_unit_hour'),
            'Tags': json_object_of(['use_case_id', 'team_name', 'environment_name', 'customer_id']),
            'PricingQuantity': 'sold_units',
            'ConsumedQuantity': 'sold_units',
            'ListUnitPrice': 'coalesce(list_usd_per_unit, 0)',
            'ContractedUnitPrice': 'sold_usd_per_unit',
            'ListCost': 'sold_list_cost_usd',
            'ContractedCost': 'sold_contracted_cost_usd',
            'BilledCost': 'case when is_to_be_billed then sold_contracted_cost_usd else 0 end',
            'EffectiveCost': 'sold_effective_cost_usd',
        })))) }}
    from usage_described
),

line_usage as (
    select
        invoice_line_id,
        sum(sold_contracted_cost_usd) as contracted_cost_usd
    from usage_billed
    where invoice_line_id is not null
    group by invoice_line_id
),

-- What a line of calls bills beyond the calls that it covers. What it means for the effective cost is said by cause.
line_differences as (
    select
        call_lines.*,
        call_lines.billed_cost_usd - coalesce(line_usage.contracted_cost_usd, 0) as difference_usd
    from call_lines
    left join line_usage on call_lines.invoice_line_id = line_usage.invoice_line_id
    where
        line_usage.invoice_line_id is null
        or call_lines.billed_cost_usd <> line_usage.contracted_cost_usd
),

line_difference_rows as (
    select
        {{- focus_charge(dict(account_columns, **dict(ai_service, **{
            'x_ChargeKey': "concat('line-difference-', invoice_line_id)",
            'x_ChargeOrigin': "'line_difference'",
            'ChargeCategory': 'charge_type',
            'ChargeClass': 'charge_class_type',
            'ChargeFrequency': "'Usage-Based'",
            'ChargeDescription': "concat('Billed beyond the calls of the line: ', charge_description)",
            'SubAccountId': 'sub_account_id',
            'InvoiceId': 'billed_invoice_id',
            'InvoiceDetailId': 'invoice_detail_id',
            'ServiceName': "coalesce(service_name, 'Model inference')",
            'RegionId': 'region_id',
            'SkuId': "concat(provider_name, '/difference')",
            'SkuMeter': "coalesce(sku_meter_name, 'difference')",
            'SkuPriceId': "concat(provider_name, '/difference@0')",
            'PricingCategory': "'Other'",
            'PricingUnit': "'Tokens'",
            'ConsumedUnit': "'Tokens'",
            'PricingQuantity': '0',
            'ConsumedQuantity': '0',
            'ListUnitPrice': '0',
            'ContractedUnitPrice': '0',
            'ListCost': '0',
            'ContractedCost': '0',
            'BilledCost': 'difference_usd',
            'EffectiveCost': '0',
            'ChargePeriodStart': 'coalesce(charge_period_start_at, billing_period_start_at)',
            'ChargePeriodEnd': 'coalesce(charge_period_end_at, billing_period_end_at)',
        })) ) }}
    from line_differences
),

-- Idle and unallocated capacity are rows of each day; every other cause is of the whole period.
cause_rows as (
    select
        {{- focus_charge(dict(ai_service, **{
            'x_ChargeKey': "concat('cause-', " ~ content_hash([
                'period_charges.provider_name', 'period_charges.billing_account_id',
                'period_charges.billing_period_start_date', 'component_name', 'driver_type', 'cause_type',
                'bom_layer_type', 'tagged_use_case_id', 'tagged_team_name', 'commitment_id',
            ]) ~ ')',
            'x_ChargeOrigin': "'cause'",
            'x_CauseType': 'cause_type',
            'AllocationKey': "concat(component_name, '/', cause_type)",
            'ChargeCategory': "'Adjustment'",
            'ChargeFrequency': "'One-Time'",
            'ChargeDescription': "concat('Bill less ledger, ', component_name, ': ', replace(cause_type, '_', ' '))",
            'ServiceProviderName': 'period_charges.provider_name',
            'InvoiceIssuerName': 'bills.issuer_name',
            'BillingAccountId': 'bills.account_id',
            'BillingPeriodStart': 'bills.billing_period_start_at',
            'BillingPeriodEnd': 'bills.billing_period_end_at',
            'ServiceName': "'Model inference'",
            'ListCost': '0',
            'ContractedCost': '0',
            'BilledCost': '0',
            'EffectiveCost': 'charge_usd',
            'ChargePeriodStart': 'bills.billing_period_start_at',
            'ChargePeriodEnd': 'bills.billing_period_end_at',
        }) ) }}
    from period_charges
    inner join bills
        on
            period_charges.provider_name = bills.provider_name
            and coalesce(period_charges.billing_account_id, 'unknown') = bills.account_id
            and period_charges.billing_period_start_date = cast(bills.billing_period_start_at as date)
    where
        period_charges.driver_type in ('calls', 'commitment')
        and period_charges.cause_type not in ('idle_capacity', 'unallocated_capacity')
        and period_charges.charge_usd <> 0
),

-- A charge of its own is one unit at its price; a negative one is minus one unit.
other_lines as (
    select
        *,
        case
            when charge_type in ('Usage', 'Purchase', 'Tax', 'Credit', 'Adjustment') then charge_type
            when driver_type = 'tax' then 'Tax'
            when driver_type in ('credit', 'refund') then 'Credit'
            else 'Adjustment'
        end as charge_category,
        case when billed_cost_usd < 0 then -1 else 1 end as charge_quantity,
        charge_type in ('Usage', 'Purchase') as is_priced,
        coalesce(sku_id, concat_ws('/', provider_name, charge_description)) as charge_sku_id
    from bill_lines
    where driver_type not in ('calls', 'commitment')
),

other_line_rows as (
    select
        {{- focus_charge(dict(account_columns, **{
            'x_ChargeKey': "concat('line-', invoice_line_id)",
            'x_ChargeOrigin': "'line'",
            'ChargeCategory': 'charge_category',
            'ChargeClass': 'charge_class_type',
            'ChargeFrequency': "case when charge_category = 'Usage' then 'Usage-Based' else 'One-Time' end",
            'ChargeDescription': 'charge_description',
            'SubAccountId': 'sub_account_id',
            'InvoiceId': 'billed_invoice_id',
            'InvoiceDetailId': 'invoice_detail_id',
            'ServiceCategory': 'service_category_type',
            'ServiceName': 'coalesce(service_name, charge_description)',
            'RegionId': 'region_id',
            'ResourceId': 'resource_id',
            'SkuId': 'case when is_priced then charge_sku_id end',
            'SkuMeter': 'case when is_priced then coalesce(sku_meter_name, charge_description) end',
            'SkuPriceId': "case when is_priced then concat(charge_sku_id, '@', cast(abs(billed_cost_usd) as varchar)) end",
            'PricingCategory': "case when is_priced then 'Standard' end",
            'PricingUnit': "case when is_priced then 'Charges' end",
            'ConsumedUnit': "case when charge_category = 'Usage' then coalesce(consumed_unit_name, 'Charges') end",
            'PricingQuantity': 'case when is_priced then charge_quantity end',
            'ConsumedQuantity': "case
                when charge_category <> 'Usage' then null
                when consumed_unit_name is null then charge_quantity
                else coalesce(consumed_quantity_units, 0)
            end",
            'ListUnitPrice': 'case when is_priced then abs(billed_cost_usd) end',
            'ContractedUnitPrice': 'case when is_priced then abs(billed_cost_usd) end',
            'ListCost': 'billed_cost_usd',
            'ContractedCost': 'billed_cost_usd',
            'BilledCost': 'billed_cost_usd',
            'EffectiveCost': 'billed_cost_usd',
            'Tags': 'tags_json',
            'x_CauseType': 'driver_type',
            'AllocationKey': "case when tagged_use_case_id is null and tagged_team_name is null then component_name end",
            'ChargePeriodStart': 'coalesce(charge_period_start_at, billing_period_start_at)',
            'ChargePeriodEnd': 'coalesce(charge_period_end_at, billing_period_end_at)',
        }) ) }}
    from other_lines
),

-- Capacity is bought on the invoice and spent by the hour: the purchase is billed, its use and what stood idle are
-- effective.
purchases_billed as (
    select
        bill_lines.*,
        commitment_terms.unit_name,
        commitment_terms.usd_per_unit_hour,
        commitment_terms.commitment_id as known_commitment_id,
        coalesce(
            commitment_terms.bought_units * {{ integer_divide(
                microseconds_between('bill_lines.charge_period_start_at', 'bill_lines.charge_period_end_at'), '3600000000'
            ) }},
            1
        ) as purchased_unit_hours
    from bill_lines
    left join commitment_terms
        on
            bill_lines.commitment_id = commitment_terms.commitment_id
            and bill_lines.charge_period_start_at >= commitment_terms.starts_at
            and bill_lines.charge_period_start_at < commitment_terms.ends_at
    where bill_lines.driver_type = 'commitment'
),

purchase_line_rows as (
    select
        {{- focus_charge(dict(account_columns, **dict(ai_service, **{
            'x_ChargeKey': "concat('line-', invoice_line_id)",
            'x_ChargeOrigin': "'purchase'",
            'ChargeCategory': "'Purchase'",
            'ChargeClass': 'charge_class_type',
            'ChargeFrequency': "'Recurring'",
            'ChargeDescription': 'charge_description',
            'SubAccountId': 'sub_account_id',
            'InvoiceId': 'billed_invoice_id',
            'InvoiceDetailId': 'invoice_detail_id',
            'ServiceName': "'Provisioned capacity'",
            'RegionId': 'region_id',
            'SkuId': "concat_ws('/', provider_name, coalesce(known_commitment_id, sku_id, charge_description))",
            'SkuMeter': "coalesce(concat(unit_name, '-Hours'), sku_meter_name, charge_description)",
            'SkuPriceId': "concat_ws(
                '@',
                concat_ws('/', provider_name, coalesce(known_commitment_id, sku_id, charge_description)),
                cast(coalesce(usd_per_unit_hour, abs(billed_cost_usd)) as varchar)
            )",
            'PricingCategory': "'Standard'",
            'PricingUnit': "coalesce(concat(unit_name, '-Hours'), 'Charges')",
            'CommitmentDiscountId': 'known_commitment_id',
            'CommitmentDiscountUnit': "concat(unit_name, '-Hours')",
            'CommitmentDiscountQuantity': 'case when known_commitment_id is not null then purchased_unit_hours end',
            'PricingQuantity': 'purchased_unit_hours',
            'ListUnitPrice': 'coalesce(usd_per_unit_hour, abs(billed_cost_usd))',
            'ContractedUnitPrice': 'coalesce(usd_per_unit_hour, abs(billed_cost_usd))',
            'ListCost': 'purchased_unit_hours * coalesce(usd_per_unit_hour, abs(billed_cost_usd))',
            'ContractedCost': 'purchased_unit_hours * coalesce(usd_per_unit_hour, abs(billed_cost_usd))',
            'BilledCost': 'billed_cost_usd',
            'EffectiveCost': '0',
            'Tags': 'tags_json',
            'ChargePeriodStart': 'coalesce(charge_period_start_at, billing_period_start_at)',
            'ChargePeriodEnd': 'coalesce(charge_period_end_at, billing_period_end_at)',
        })) ) }}
    from purchases_billed
),

capacity_days as (
    select
        capacity_hours.commitment_id,
        capacity_hours.allocation_id,
        capacity_hours.deployment_id,
        capacity_hours.event_date,
        capacity_hours.usd_per_unit_hour,
        commitments.provider_name,
        commitments.unit_name,
        commitments.region_id,
        billed_days.account_id,
        billed_days.issuer_name,
        billed_days.billing_period_start_at,
        billed_days.billing_period_end_at,
        billed_days.is_billed,
        sum(capacity_hours.cost_usd) as cost_usd,
        sum(capacity_hours.idle_cost_usd + capacity_hours.unallocated_cost_usd) as unused_cost_usd
    from capacity_hours
    inner join commitments on capacity_hours.commitment_id = commitments.commitment_id
    inner join billed_days
        on
            commitments.provider_name = billed_days.provider_name
            and billed_days.known_account_id is null
            and capacity_hours.event_date = billed_days.event_date
    group by
        capacity_hours.commitment_id, capacity_hours.allocation_id, capacity_hours.deployment_id,
        capacity_hours.event_date, capacity_hours.usd_per_unit_hour, commitments.provider_name, commitments.unit_name,
        commitments.region_id, billed_days.account_id, billed_days.issuer_name,
        billed_days.billing_period_start_at, billed_days.billing_period_end_at, billed_days.is_billed
),

unused_days as (
    select
        *,
        {{ unit_hours_of('unused_cost_usd', 'usd_per_unit_hour') }} as unused_unit_hours
    from capacity_days
    where unused_cost_usd > 0
),

unused_rows as (
    select
        {{- focus_charge(dict(account_columns, **dict(ai_service, **dict(day_columns, **{
            'x_ChargeKey': "concat_ws(
                '-', 'unused', commitment_id, allocation_id, cast(event_date as varchar), cast(usd_per_unit_hour as varchar)
            )",
            'x_ChargeOrigin': "'unused_capacity'",
            'x_CauseType': "case when deployment_id is null then 'unallocated_capacity' else 'idle_capacity' end",
            'AllocationKey': "case when deployment_id is null then 'unallocated_capacity' else 'idle_capacity' end",
            'ChargeCategory': "'Usage'",
            'ChargeFrequency': "'Usage-Based'",
            'ChargeDescription': "concat_ws(', ', commitment_id, allocation_id, 'unused capacity')",
            'ServiceName': "'Provisioned capacity'",
            'RegionId': 'region_id',
            'ResourceId': 'deployment_id',
            'SkuId': "concat_ws('/', provider_name, commitment_id)",
            'SkuMeter': "concat(unit_name, '-Hours')",
            'SkuPriceId': "concat_ws('@', concat_ws('/', provider_name, commitment_id), cast(usd_per_unit_hour as varchar))",
            'PricingCategory': "'Committed'",
            'PricingUnit': "concat(unit_name, '-Hours')",
            'CommitmentDiscountId': 'commitment_id',
            'CommitmentDiscountStatus': "'Unused'",
            'CommitmentDiscountUnit': "concat(unit_name, '-Hours')",
            'CommitmentDiscountQuantity': 'unused_unit_hours',
            'PricingQuantity': 'unused_unit_hours',
            'ListUnitPrice': 'usd_per_unit_hour',
            'ContractedUnitPrice': 'usd_per_unit_hour',
            'ListCost': 'unused_unit_hours * usd_per_unit_hour',
            'ContractedCost': 'unused_unit_hours * usd_per_unit_hour',
            'BilledCost': '0',
            'EffectiveCost': 'unused_cost_usd',
        })) )) }}
    from unused_days
),

-- Capacity of days without a bill is bought all the same: what it costs is what will be billed.
purchases_unbilled as (
    select
        commitment_id,
        provider_name,
        unit_name,
        region_id,
        usd_per_unit_hour,
        account_id,
        issuer_name,
        billing_period_start_at,
        billing_period_end_at,
        {{ unit_hours_of('sum(cost_usd)', 'usd_per_unit_hour') }} as purchased_unit_hours,
        sum(cost_usd) as cost_usd,
        min(event_date) as first_date,
        max(event_date) as last_date
    from capacity_days
    where not is_billed
    group by
        commitment_id, provider_name, unit_name, region_id, usd_per_unit_hour, account_id, issuer_name,
        billing_period_start_at, billing_period_end_at
),

purchase_unbilled_rows as (
    select
        {{- focus_charge(dict(account_columns, **dict(ai_service, **{
            'x_ChargeKey': "concat_ws(
                '-', 'purchase', commitment_id, cast(cast(billing_period_start_at as date) as varchar),
                cast(usd_per_unit_hour as varchar)
            )",
            'x_ChargeOrigin': "'purchase'",
            'ChargeCategory': "'Purchase'",
            'ChargeFrequency': "'Recurring'",
            'ChargeDescription': "concat_ws(', ', commitment_id, 'not billed yet')",
            'ServiceName': "'Provisioned capacity'",
            'RegionId': 'region_id',
            'SkuId': "concat_ws('/', provider_name, commitment_id)",
            'SkuMeter': "concat(unit_name, '-Hours')",
            'SkuPriceId': "concat_ws('@', concat_ws('/', provider_name, commitment_id), cast(usd_per_unit_hour as varchar))",
            'PricingCategory': "'Standard'",
            'PricingUnit': "concat(unit_name, '-Hours')",
            'CommitmentDiscountId': 'commitment_id',
            'CommitmentDiscountUnit': "concat(unit_name, '-Hours')",
            'CommitmentDiscountQuantity': 'purchased_unit_hours',
            'PricingQuantity': 'purchased_unit_hours',
            'ListUnitPrice': 'usd_per_unit_hour',
            'ContractedUnitPrice': 'usd_per_unit_hour',
            'ListCost': 'purchased_unit_hours * usd_per_unit_hour',
            'ContractedCost': 'purchased_unit_hours * usd_per_unit_hour',
            'BilledCost': 'cost_usd',
            'EffectiveCost': '0',
            'ChargePeriodStart': 'first_date',
            'ChargePeriodEnd': "last_date + interval '1 day'",
        })) ) }}
    from purchases_unbilled
),

charges as (
    select * from usage_rows
    union all
    select * from line_difference_rows
    union all
    select * from cause_rows
    union all
    select * from other_line_rows
    union all
    select * from purchase_line_rows
    union all
    select * from unused_rows
    union all
    select * from purchase_unbilled_rows
),

-- Who bears what no call drives, in each period: what the allocation gave them of its like. A charge is split where one
-- rule gave all of its like away; it stays whole where several did, where nobody was given a part, and where a tag says
-- whose it is.
shares as (
    select
        provider_name,
        coalesce(billing_account_id, 'unknown') as account_id,
        billing_period_start_date,
        case
            when cause_type in ('idle_capacity', 'unallocated_capacity') then cause_type
            when component_name in ('calls', 'commitment') then concat(component_name, '/', cause_type)
            else component_name
        end as allocation_key,
        use_case_id,
        team_name,
        environment_name,
        customer_id,
        rule_id,
        {{ nano_usd('abs(sum(allocated_cost_usd))') }} as share_weight
    from cost_allocations
    where cause_type is not null and cause_type <> 'other_cost'
    group by
        provider_name, coalesce(billing_account_id, 'unknown'), billing_period_start_date,
        case
            when cause_type in ('idle_capacity', 'unallocated_capacity') then cause_type
            when component_name in ('calls', 'commitment') then concat(component_name, '/', cause_type)
            else component_name
        end,
        use_case_id, team_name, environment_name, customer_id, rule_id
),

wholes as (
    select
        provider_name,
        account_id,
        billing_period_start_date,
        allocation_key,
        sum(share_weight) as whole_weight
    from shares
    group by provider_name, account_id, billing_period_start_date, allocation_key
    having
        min(rule_id) = max(rule_id)
        and count(*) = count(rule_id)
        and count(*) = count(coalesce(use_case_id, team_name))
        and sum(share_weight) > 0
),

shared as (
    select
        charges.*,
        shares.use_case_id,
        shares.team_name,
        shares.environment_name,
        shares.customer_id,
        shares.rule_id,
        shares.share_weight,
        wholes.whole_weight
    from charges
    inner join wholes
        on
            charges.ServiceProviderName = wholes.provider_name
            and charges.BillingAccountId = wholes.account_id
            and cast(charges.BillingPeriodStart as date) = wholes.billing_period_start_date
            and charges.AllocationKey = wholes.allocation_key
    inner join shares
        on
            wholes.provider_name = shares.provider_name
            and wholes.account_id = shares.account_id
            and wholes.billing_period_start_date = shares.billing_period_start_date
            and wholes.allocation_key = shares.allocation_key
    where shares.share_weight > 0
),

parted as (
    {{ largest_remainder(
        'shared',
        (focus_charge_columns().keys() | list) + target_columns + ['rule_id', 'share_weight', 'whole_weight'],
        ['x_ChargeKey'],
        target_columns,
        'share_weight',
        'EffectiveCost',
        'PartCost',
    ) | indent(4) }}
),

-- Cost, and the unit-hours of unused capacity that it pays for, are the part's; what was consumed stays with the first.
parts as (
    select
        *,
        case when BilledCost = EffectiveCost then PartCost else BilledCost end as PartBilledCost,
        case
            when CommitmentDiscountStatus = 'Unused' then {{ unit_hours_of('PartCost', 'ListUnitPrice') }}
            else PricingQuantity
        end as PartQuantity,
        case when CommitmentDiscountStatus = 'Unused' or ListUnitPrice is null then ListUnitPrice else abs(PartCost) end
            as PartUnitPrice,
        row_number() over (
            partition by x_ChargeKey
            order by {{ target_columns | join(' asc nulls last, ') }} asc nulls last
        ) as part_index
    from parted
),

split_rows as (
    select
        {%- for name in focus_charge_columns() %}
        {{ {
            'x_ChargeKey': "concat(x_ChargeKey, '-', " ~ content_hash(target_columns) ~ ")",
            'SkuPriceId':
                "case when CommitmentDiscountStatus = 'Unused' or SkuId is null then SkuPriceId"
                ~ " else concat(SkuId, '@', cast(PartUnitPrice as varchar)) end",
            'PricingQuantity': 'PartQuantity',
            'CommitmentDiscountQuantity': "case when CommitmentDiscountStatus = 'Unused' then PartQuantity end",
            'ConsumedQuantity': 'case when part_index = 1 then ConsumedQuantity when ConsumedQuantity is not null then 0 end',
            'ListUnitPrice': 'PartUnitPrice',
            'ContractedUnitPrice': 'PartUnitPrice',
            'ListCost': 'case when x_ChargeOrigin = \'cause\' then 0 else coalesce(PartQuantity * PartUnitPrice, PartCost) end',
            'ContractedCost': 'case when x_ChargeOrigin = \'cause\' then 0 else coalesce(PartQuantity * PartUnitPrice, PartCost) end',
            'BilledCost': 'PartBilledCost',
            'EffectiveCost': 'PartCost',
        }.get(name, name) }} as {{ name }},
        {%- endfor %}
        rule_id as AllocatedMethodId,
        concat(
            '{{ ratio_json[0] }}',
            cast(
                cast(
                    {{ integer_divide('share_weight * cast(1000000000 as decimal(10, 0))', 'whole_weight') }}
                    as decimal(18, 0)
                )
                * cast(0.000000001 as decimal(10, 9)) as varchar
            ),
            '{{ ratio_json[1] }}'
        ) as AllocatedMethodDetails,
        concat_ws('/', coalesce(use_case_id, team_name), environment_name, customer_id) as AllocatedResourceId,
        coalesce(use_case_id, team_name) as AllocatedResourceName,
        cast({{ json_object_of(target_columns) }} as varchar) as AllocatedTags,
        x_ChargeKey as x_SplitOriginId,
        BilledCost as x_SplitOriginCost
    from parts
),

split_keys as (
    select distinct x_ChargeKey
    from shared
),

whole_rows as (
    select
        {%- for name in focus_charge_columns() %}
        charges.{{ name }},
        {%- endfor %}
        cast(null as varchar) as AllocatedMethodId,
        cast(null as varchar) as AllocatedMethodDetails,
        cast(null as varchar) as AllocatedResourceId,
        cast(null as varchar) as AllocatedResourceName,
        cast(null as varchar) as AllocatedTags,
        cast(null as varchar) as x_SplitOriginId,
        cast(null as decimal(38, 18)) as x_SplitOriginCost
    from charges
    left join split_keys on charges.x_ChargeKey = split_keys.x_ChargeKey
    where split_keys.x_ChargeKey is null
),

allocated as (
    select * from split_rows
    union all
    select * from whole_rows
),

categorised as (
    select
        charges.*,
        -- FOCUS knows nineteen categories; what is none of them is Other.
        case
            when
                charges.ServiceCategory in (
                    {%- for category in focus_service_categories() %}
                    '{{ category }}'{{ ',' if not loop.last }}
                    {%- endfor %}
                )
                then charges.ServiceCategory
            else 'Other'
        end as KnownServiceCategory
    from allocated as charges
),

final as (
    select
        x_ChargeKey,
        x_ChargeOrigin,
        x_CauseType,
        ChargeCategory,
        ChargeClass,
        ChargeFrequency,
        ChargeDescription,
        ServiceProviderName,
        cast(null as varchar) as HostProviderName,
        InvoiceIssuerName,
        BillingAccountId,
        cast(null as varchar) as BillingAccountName,
        'Account' as BillingAccountType,
        SubAccountId,
        SubAccountId as SubAccountName,
        case when SubAccountId is not null then 'Account' end as SubAccountType,
        InvoiceId,
        InvoiceDetailId,
        'USD' as BillingCurrency,
        'USD' as PricingCurrency,
        KnownServiceCategory as ServiceCategory,
        case
            when x_ChargeOrigin = 'line' then concat('Other (', KnownServiceCategory, ')') else 'Generative AI'
        end as ServiceSubcategory,
        ServiceName,
        RegionId,
        RegionId as RegionName,
        ResourceId,
        ResourceId as ResourceName,
        case
            when ResourceId is null then null when x_ChargeOrigin = 'line' then 'Resource' else 'Deployment'
        end as ResourceType,
        SkuId,
        SkuMeter,
        SkuPriceId,
        SkuPriceDetails,
        PricingCategory,
        PricingUnit,
        ConsumedUnit,
        CommitmentDiscountId,
        case when CommitmentDiscountId is not null then 'Usage' end as CommitmentDiscountCategory,
        CommitmentDiscountId as CommitmentDiscountName,
        case when CommitmentDiscountId is not null then 'Provisioned capacity' end as CommitmentDiscountType,
        CommitmentDiscountStatus,
        CommitmentDiscountUnit,
        case when ChargeCategory = 'Usage' then CommitmentDiscountId end as CapacityReservationId,
        case when ChargeCategory = 'Usage' then CommitmentDiscountStatus end as CapacityReservationStatus,
        case
            when CommitmentDiscountId is not null and ChargeCategory = 'Usage'
                then
                    concat(
                        '{{ applied_json[0] }}', {{ json_escaped('CommitmentDiscountId') }},
                        '{{ applied_json[1] }}', {{ json_escaped('CommitmentDiscountId') }},
                        '{{ applied_json[2] }}', cast(CommitmentDiscountQuantity as varchar),
                        '{{ applied_json[3] }}', {{ json_escaped('CommitmentDiscountUnit') }}, '{{ applied_json[4] }}'
                    )
        end as ContractApplied,
        Tags,
        AllocatedMethodId,
        AllocatedMethodDetails,
        AllocatedResourceId,
        AllocatedResourceName,
        AllocatedTags,
        x_SplitOriginId,
        x_SplitOriginCost,
        cast(PricingQuantity as decimal(28, 9)) as PricingQuantity,
        cast(ConsumedQuantity as decimal(28, 9)) as ConsumedQuantity,
        cast(CommitmentDiscountQuantity as decimal(28, 9)) as CommitmentDiscountQuantity,
        ListUnitPrice,
        ContractedUnitPrice,
        ListUnitPrice as PricingCurrencyListUnitPrice,
        ContractedUnitPrice as PricingCurrencyContractedUnitPrice,
        cast(ListCost as decimal(38, 18)) as ListCost,
        cast(ContractedCost as decimal(38, 18)) as ContractedCost,
        cast(BilledCost as decimal(38, 18)) as BilledCost,
        cast(EffectiveCost as decimal(38, 18)) as EffectiveCost,
        cast(EffectiveCost as decimal(38, 18)) as PricingCurrencyEffectiveCost,
        BillingPeriodStart,
        BillingPeriodEnd,
        ChargePeriodStart,
        ChargePeriodEnd
    from categorised
)

select * from final
