with

invoice_lines as (
    select * from {{ ref('fct_invoice_lines') }}
),

deliveries as (
    select
        invoice_line_id,
        landed_at
    from {{ ref('int_billing__lines_classified') }}
),

invoiced as (
    select
        invoice_lines.*,
        invoice_lines.service_name as ServiceName,
        invoice_lines.sku_id as SkuId,
        invoice_lines.sku_meter_name as SkuMeter,
        invoice_lines.region_id as RegionId,
        invoice_lines.model_id as x_ModelId,
        invoice_lines.unit_kind_type as x_UnitKind,
        deliveries.landed_at,
        min(deliveries.landed_at) over (
            partition by
                invoice_lines.provider_name, invoice_lines.billing_account_id, invoice_lines.billing_period_start_at,
                invoice_lines.invoice_id
        ) as first_landed_at
    from invoice_lines
    inner join deliveries on invoice_lines.invoice_line_id = deliveries.invoice_line_id
    where
        invoice_lines.document_type = 'invoice'
        and invoice_lines.invoice_id is not null
        and invoice_lines.billed_cost_usd is not null
),

final as (
    select
        invoice_line_id as InvoiceDetailId,
        invoice_id as InvoiceId,
        invoice_id as ReferenceInvoiceId,
        coalesce(billing_account_id, 'unknown') as BillingAccountId,
        coalesce(invoice_issuer_name, provider_name) as InvoiceIssuerName,
        case
            when charge_type in ('Usage', 'Purchase', 'Tax', 'Credit', 'Adjustment') then charge_type
            when driver_type = 'tax' then 'Tax'
            when driver_type in ('credit', 'refund') then 'Credit'
            else 'Adjustment'
        end as ChargeCategory,
        charge_description as InvoiceDetailDescription,
        cast(
            {{ json_object_of(['ServiceName', 'SkuId', 'SkuMeter', 'RegionId', 'x_ModelId', 'x_UnitKind']) }} as varchar
        ) as InvoiceDetailGrain,
        'Issued' as InvoiceIssueStatus,
        'not stated' as PaymentTerms,
        'USD' as BillingCurrency,
        billing_currency_code as PaymentCurrency,
        invoice_line_id as PaymentCurrencyInvoiceDetailId,
        cast(billed_cost_usd as decimal(38, 18)) as BilledCost,
        cast(billed_cost_in_billing_currency as decimal(38, 18)) as PaymentCurrencyBilledCost,
        cast(null as timestamp with time zone) as InvoiceIssueDate,
        cast(null as timestamp with time zone) as PaymentDueDate,
        first_landed_at as InvoiceDetailCreated,
        landed_at as InvoiceDetailLastUpdated,
        billing_period_start_at as BillingPeriodStart,
        billing_period_end_at as BillingPeriodEnd
    from invoiced
)

select * from final
