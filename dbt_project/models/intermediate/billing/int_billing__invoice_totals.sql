with

billed as (
    select
        canonical_provider_name as provider_name,
        billing_account_id,
        invoice_id,
        billing_currency_code,
        count(*) as line_count,
        cast(sum(billed_cost_in_billing_currency) as decimal(38, 18)) as billed_cost_in_billing_currency,
        min(billing_period_start_at) as billing_period_start_at
    from {{ ref('int_billing__lines_classified') }}
    where
        reject_reason is null
        and invoice_id is not null
    group by canonical_provider_name, billing_account_id, invoice_id, billing_currency_code
),

declared as (
    select * from {{ ref('seed_invoice_totals') }}
),

final as (
    select
        coalesce(billed.provider_name, declared.provider_name) as provider_name,
        coalesce(billed.billing_account_id, declared.billing_account_id) as billing_account_id,
        coalesce(billed.invoice_id, declared.invoice_id) as invoice_id,
        coalesce(billed.billing_currency_code, declared.billing_currency_code) as billing_currency_code,
        cast(coalesce(billed.line_count, 0) as bigint) as line_count,
        billed.billed_cost_in_billing_currency,
        declared.total_in_billing_currency,
        cast(
            billed.billed_cost_in_billing_currency - declared.total_in_billing_currency as decimal(38, 18)
        ) as difference_in_billing_currency,
        case
            when declared.invoice_id is null then 'no_total'
            when billed.invoice_id is null then 'no_lines'
            -- A total is in whole cents, lines may have more decimals: half a cent is what rounding the sum leaves.
            when
                abs(billed.billed_cost_in_billing_currency - declared.total_in_billing_currency) > 0.005
                then 'lines_do_not_sum_to_total'
        end as unreconciled_reason_type,
        declared.evidence,
        billed.billing_period_start_at
    from billed
    full outer join declared
        on
            billed.provider_name = declared.provider_name
            and billed.billing_account_id = declared.billing_account_id
            and billed.invoice_id = declared.invoice_id
            and billed.billing_currency_code = declared.billing_currency_code
)

select * from final
