{%- set account = ['canonical_provider_name', 'billing_account_id'] -%}
{%- set reported_day = account + ['billing_period_start_date', 'billing_period_end_date', 'charge_date'] -%}
{%- set currency_columns = ['billed_cost', 'effective_cost', 'list_cost', 'contracted_cost'] -%}
with

-- A billing period that states no end is a month.
lines as (
    select
        *,
        {{ nearest_date('billing_period_start_at') }} as billing_period_start_date,
        {{ nearest_date("coalesce(billing_period_end_at, billing_period_start_at + interval '1' month)") }}
            as billing_period_end_date,
        cast(charge_period_start_at as date) as charge_date
    from {{ ref('int_billing__lines_classified') }}
    where reject_reason is null
),

invoice_periods as (
    select distinct
        {{ listed(account) }},
        billing_period_start_date,
        billing_period_end_date
    from lines
    where document_type = 'invoice'
),

reported_days as (
    select distinct
        {{ listed(reported_day) }}
    from lines
    where document_type = 'cost_report'
),

-- A day of a cost report is billed by the invoice in whose period it lies, the one of its own month before others.
covering_invoices as (
    select
        {{ listed(reported_day, 'reported_days.') }},
        invoice_periods.billing_period_start_date as invoice_start_date,
        invoice_periods.billing_period_end_date as invoice_end_date,
        row_number() over (
            partition by
                {{ listed(reported_day, 'reported_days.') }}
            order by
                case
                    when invoice_periods.billing_period_start_date = reported_days.billing_period_start_date then 0
                    else 1
                end asc,
                invoice_periods.billing_period_start_date desc,
                invoice_periods.billing_period_end_date asc
        ) as cover_rank
    from reported_days
    inner join invoice_periods
        on
            {{ same_values('reported_days', 'invoice_periods', account) }}
            and reported_days.charge_date >= invoice_periods.billing_period_start_date
            and reported_days.charge_date < invoice_periods.billing_period_end_date
),

-- Without one it is of what the account's invoices before and after it leave of its month.
neighbouring_invoices as (
    select
        {{ listed(reported_day, 'reported_days.') }},
        max(
            case
                when invoice_periods.billing_period_end_date <= reported_days.charge_date
                    then invoice_periods.billing_period_end_date
            end
        ) as former_end_date,
        min(
            case
                when invoice_periods.billing_period_start_date > reported_days.charge_date
                    then invoice_periods.billing_period_start_date
            end
        ) as next_start_date
    from reported_days
    inner join invoice_periods on {{ same_values('reported_days', 'invoice_periods', account) }}
    group by
        {{ listed(reported_day, 'reported_days.') }}
),

dated as (
    select
        lines.*,
        covering_invoices.cover_rank is null as is_bill,
        coalesce(
            covering_invoices.invoice_start_date,
            greatest(
                lines.billing_period_start_date,
                coalesce(neighbouring_invoices.former_end_date, lines.billing_period_start_date)
            )
        ) as period_start_date,
        coalesce(
            covering_invoices.invoice_end_date,
            least(
                lines.billing_period_end_date,
                coalesce(neighbouring_invoices.next_start_date, lines.billing_period_end_date)
            )
        ) as period_end_date
    from lines
    left join covering_invoices
        on
            lines.document_type = 'cost_report'
            and covering_invoices.cover_rank = 1
            and {{ same_values('lines', 'covering_invoices', reported_day) }}
    left join neighbouring_invoices
        on
            lines.document_type = 'cost_report'
            and {{ same_values('lines', 'neighbouring_invoices', reported_day) }}
),

exchange_rates as (
    {{ exchange_rate_intervals() }}
),

exchanged as (
    select
        dated.*,
        case
            when dated.billing_currency_code = 'USD' then cast(1 as decimal(18, 12))
            else exchange_rates.usd_per_currency_unit
        end as usd_per_currency_unit
    from dated
    left join exchange_rates
        on
            dated.billing_currency_code = exchange_rates.pricing_currency
            and dated.charge_period_start_at >= exchange_rates.valid_from_at
            and dated.charge_period_start_at < exchange_rates.valid_to_at
),

final as (
    select
        source_name,
        invoice_line_id,
        document_type,
        invoice_id,
        canonical_provider_name as provider_name,
        invoice_issuer_name,
        billing_account_id,
        sub_account_id,
        billing_currency_code,
        charge_type,
        charge_class_type,
        charge_description,
        charge_frequency_type,
        component_name,
        driver_type,
        bom_layer_type,
        service_category_type,
        service_name,
        sku_id,
        sku_meter_name,
        model_name,
        model_id,
        service_tier,
        unit_kind_type,
        commitment_id,
        resource_id,
        resource_name,
        region_id,
        pricing_unit as pricing_unit_name,
        consumed_unit as consumed_unit_name,
        tagged_use_case_id,
        tagged_team_name,
        delivery_id,
        tags_json,
        cast(version_index as bigint) as version_index,
        {%- for column in currency_columns %}
        cast({{ column }}_in_billing_currency as decimal(38, 18)) as {{ column }}_in_billing_currency,
        {%- endfor %}
        usd_per_currency_unit,
        {%- for column in currency_columns %}
        {{ converted(column ~ '_in_billing_currency', 'usd_per_currency_unit') }} as {{ column }}_usd,
        {%- endfor %}
        case when usd_per_currency_unit is null then 'no_exchange_rate' end as unconverted_reason_type,
        cast(pricing_quantity_units as decimal(38, 18)) as pricing_quantity_units,
        cast(consumed_quantity_units as decimal(38, 18)) as consumed_quantity_units,
        is_bill,
        period_start_date as billing_period_start_date,
        cast(period_start_date as timestamp with time zone) as billing_period_start_at,
        cast(period_end_date as timestamp with time zone) as billing_period_end_at,
        charge_period_start_at,
        charge_period_end_at
    from exchanged
)

select * from final
