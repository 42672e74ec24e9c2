{#- ContractCommitmentApplicability between its values: the provider, and the region where there is one. -#}
{%- set scope_json = [
    '{"InclusionOperator":"And","Inclusions":[{"Dimension":"ServiceProviderName","Operator":"In","Values":["',
    '"]}',
    ',{"Dimension":"RegionId","Operator":"In","Values":["',
    ']}',
] -%}
with

-- A commitment whose units or price changed has several terms.
terms as (
    select
        *,
        bought_units * {{ integer_divide(microseconds_between('starts_at', 'ends_at'), '3600000000') }} as unit_hours
    from {{ ref('seed_commitments') }}
),

commitments as (
    select
        commitment_id,
        provider_name as service_provider_name,
        min(commitment_type) as commitment_type,
        min(region_id) as region_id,
        min(unit_name) as unit_name,
        min(evidence) as evidence,
        min(starts_at) as starts_at,
        max(ends_at) as ends_at,
        sum(unit_hours) as unit_hours,
        cast(sum(unit_hours * usd_per_unit_hour) as decimal(38, 18)) as commitment_cost_usd
    from terms
    group by commitment_id, provider_name
),

timed as (
    select
        *,
        {{ integer_divide(microseconds_between('starts_at', 'ends_at'), '86400000000') }} as day_count,
        (extract(year from ends_at) - extract(year from starts_at)) * 12
        + extract(month from ends_at) - extract(month from starts_at) as month_count,
        extract(day from starts_at) = extract(day from ends_at) as is_whole_months
    from commitments
),

issuers as (
    select
        provider_name,
        min(invoice_issuer_name) as invoice_issuer_name
    from {{ ref('fct_invoice_lines') }}
    group by provider_name
),

measured as (
    select
        timed.*,
        coalesce(issuers.invoice_issuer_name, timed.service_provider_name) as invoice_issuer_name,
        case
            when timed.is_whole_months and mod(timed.month_count, 12) = 0
                then {{ integer_divide('timed.month_count', '12') }}
            when timed.is_whole_months then timed.month_count
            else timed.day_count
        end as duration_count,
        case
            when timed.is_whole_months and mod(timed.month_count, 12) = 0 then 'Year'
            when timed.is_whole_months then 'Month'
            else 'Day'
        end as duration_unit_name
    from timed
    left join issuers on timed.service_provider_name = issuers.provider_name
),

final as (
    select
        commitment_id as ContractCommitmentId,
        commitment_id as ContractId,
        service_provider_name as ServiceProviderName,
        invoice_issuer_name as InvoiceIssuerName,
        'USD' as BillingCurrency,
        'USD' as PricingCurrency,
        concat(
            '{{ scope_json[0] }}', {{ json_escaped('service_provider_name') }}, '{{ scope_json[1] }}',
            case
                when region_id is null then ''
                else concat('{{ scope_json[2] }}', {{ json_escaped('region_id') }}, '{{ scope_json[1] }}')
            end,
            '{{ scope_json[3] }}'
        ) as ContractCommitmentApplicability,
        'Availability' as ContractCommitmentBenefitCategory,
        'Usage' as ContractCommitmentCategory,
        evidence as ContractCommitmentDescription,
        concat(
            cast(duration_count as varchar), ' ', duration_unit_name, case when duration_count = 1 then '' else 's' end
        ) as ContractCommitmentDurationType,
        'Hourly' as ContractCommitmentFulfillmentInterval,
        case
            when starts_at >= cast('{{ var("calendar_end_at") }}' as timestamp with time zone) then 'Pending'
            when ends_at <= cast('{{ var("calendar_end_at") }}' as timestamp with time zone) then 'Expired'
            else 'Active'
        end as ContractCommitmentLifecycleStatus,
        'Continuous' as ContractCommitmentModel,
        'Negotiated' as ContractCommitmentOfferCategory,
        'Monthly' as ContractCommitmentPaymentInterval,
        'No Upfront' as ContractCommitmentPaymentModel,
        commitment_type as ContractCommitmentType,
        concat(unit_name, '-Hours') as ContractCommitmentUnit,
        commitment_cost_usd as ContractCommitmentCost,
        commitment_cost_usd as PricingCurrencyContractCommitmentCost,
        cast(null as decimal(9, 6)) as ContractCommitmentDiscountPercentage,
        cast(0 as decimal(9, 6)) as ContractCommitmentPaymentUpfrontPercentage,
        cast(unit_hours as decimal(28, 9)) as ContractCommitmentQuantity,
        starts_at as ContractCommitmentCreated,
        starts_at as ContractCommitmentLastUpdated,
        starts_at as ContractCommitmentPeriodStart,
        ends_at as ContractCommitmentPeriodEnd,
        starts_at as ContractPeriodStart,
        ends_at as ContractPeriodEnd
    from measured
)

select * from final
