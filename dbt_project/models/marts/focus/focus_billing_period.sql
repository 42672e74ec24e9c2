with

cost_and_usage as (
    select * from {{ ref('focus_cost_and_usage') }}
),

invoice_details as (
    select * from {{ ref('focus_invoice_detail') }}
),

billing_periods as (
    select * from {{ ref('rpt_billing_periods') }}
),

issued as (
    select
        InvoiceIssuerName,
        BillingPeriodStart,
        BillingPeriodEnd
    from cost_and_usage
    group by InvoiceIssuerName, BillingPeriodStart, BillingPeriodEnd
    union
    select
        InvoiceIssuerName,
        BillingPeriodStart,
        BillingPeriodEnd
    from invoice_details
    group by InvoiceIssuerName, BillingPeriodStart, BillingPeriodEnd
),

updated as (
    select
        InvoiceIssuerName,
        BillingPeriodStart,
        BillingPeriodEnd,
        max(InvoiceDetailLastUpdated) as LastUpdated
    from invoice_details
    group by InvoiceIssuerName, BillingPeriodStart, BillingPeriodEnd
),

-- An issuer's period is closed when the period of each account that it bills is.
accounts as (
    select
        InvoiceIssuerName,
        ServiceProviderName,
        BillingAccountId,
        BillingPeriodStart,
        BillingPeriodEnd
    from cost_and_usage
    group by InvoiceIssuerName, ServiceProviderName, BillingAccountId, BillingPeriodStart, BillingPeriodEnd
),

judged as (
    select
        accounts.InvoiceIssuerName,
        accounts.BillingPeriodStart,
        accounts.BillingPeriodEnd,
        min(case when billing_periods.status_type in ('final', 'restated') then 1 else 0 end) = 1 as is_closed
    from accounts
    left join billing_periods
        on
            accounts.ServiceProviderName = billing_periods.provider_name
            and accounts.BillingAccountId = coalesce(billing_periods.billing_account_id, 'unknown')
            and cast(accounts.BillingPeriodStart as date) = billing_periods.billing_period_start_date
    group by accounts.InvoiceIssuerName, accounts.BillingPeriodStart, accounts.BillingPeriodEnd
),

final as (
    select
        issued.InvoiceIssuerName,
        case when judged.is_closed then 'Closed' else 'Open' end as BillingPeriodStatus,
        issued.BillingPeriodStart as BillingPeriodCreated,
        greatest(coalesce(updated.LastUpdated, issued.BillingPeriodStart), issued.BillingPeriodStart)
            as BillingPeriodLastUpdated,
        issued.BillingPeriodStart,
        issued.BillingPeriodEnd
    from issued
    left join updated
        on
            issued.InvoiceIssuerName = updated.InvoiceIssuerName
            and issued.BillingPeriodStart = updated.BillingPeriodStart
            and issued.BillingPeriodEnd = updated.BillingPeriodEnd
    left join judged
        on
            issued.InvoiceIssuerName = judged.InvoiceIssuerName
            and issued.BillingPeriodStart = judged.BillingPeriodStart
            and issued.BillingPeriodEnd = judged.BillingPeriodEnd
)

select * from final
