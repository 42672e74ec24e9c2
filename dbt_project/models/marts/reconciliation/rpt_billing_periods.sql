{%- set period = period_columns() -%}
with

periods as (
    select * from {{ ref('int_reconciliation__periods') }}
),

ledger as (
    select
        {{ period | join(', ') }},
        cast(sum(coalesce(effective_cost_usd, 0) + coalesce(capacity_cost_usd, 0)) as decimal(38, 18)) as ledger_usd,
        -- Every call is one request, so requests count calls.
        cast(sum(case when unit_kind_type = 'request' then call_count else 0 end) as bigint) as call_count,
        cast(sum(case when unit_kind_type = 'request' then unpriced_call_count else 0 end) as bigint)
            as unpriced_call_count
    from {{ ref('int_reconciliation__ledger') }}
    group by {{ period | join(', ') }}
),

differences as (
    select
        {{ period | join(', ') }},
        sum(case when cause_type <> 'unexplained' then billed_cost_usd - ledger_cost_usd else 0 end) as explained_usd,
        sum(case when cause_type = 'unexplained' then billed_cost_usd - ledger_cost_usd else 0 end)
            as unexplained_usd,
        -- What is too much and what is too little do not make each other good.
        sum(case when cause_type = 'unexplained' then abs(billed_cost_usd - ledger_cost_usd) else 0 end)
            as unexplained_absolute_usd
    from {{ ref('int_reconciliation__bridges') }}
    group by {{ period | join(', ') }}
),

measured as (
    select
        periods.provider_name,
        periods.billing_account_id,
        periods.billing_period_start_date,
        periods.billing_period_end_date,
        periods.document_type,
        cast(periods.line_count as bigint) as line_count,
        cast(periods.unconverted_line_count as bigint) as unconverted_line_count,
        coalesce(ledger.call_count, 0) as call_count,
        coalesce(ledger.unpriced_call_count, 0) as unpriced_call_count,
        periods.invoice_usd,
        coalesce(ledger.ledger_usd, 0) as ledger_usd,
        case
            when periods.document_type is not null
                then cast(coalesce(differences.explained_usd, 0) as decimal(38, 18))
        end as explained_usd,
        case
            when periods.document_type is not null
                then cast(coalesce(differences.unexplained_usd, 0) as decimal(38, 18))
        end as unexplained_usd,
        case
            when periods.document_type is null then null
            when coalesce(differences.unexplained_absolute_usd, 0) = 0 then cast(0 as double)
            when periods.invoice_usd <> 0
                then
                    cast(differences.unexplained_absolute_usd as double)
                    / cast(abs(periods.invoice_usd) as double)
            else cast(1 as double)
        end as unexplained_share,
        cast(periods.billing_period_end_date as timestamp with time zone)
        + interval '{{ var("billing_grace_days") }}' day as settles_at
    from periods
    left join ledger on {{ same_values('periods', 'ledger', period) }}
    left join differences on {{ same_values('periods', 'differences', period) }}
),

judged as (
    select
        *,
        case
            when document_type is null then 'no_bill'
            when
                cast(billing_period_end_date as timestamp with time zone)
                > cast('{{ var("calendar_end_at") }}' as timestamp with time zone)
                then 'period_not_ended'
            when document_type = 'cost_report' then 'cost_report_only'
            when unconverted_line_count > 0 then 'no_exchange_rate'
            when unexplained_share > {{ var('max_unexplained_share') }} then 'unexplained_above_tolerance'
            when settles_at > cast('{{ var("calendar_end_at") }}' as timestamp with time zone) then 'within_grace_days'
        end as not_final_reason_type
    from measured
),

final as (
    select
        provider_name,
        billing_account_id,
        document_type,
        case
            when not_final_reason_type in ('no_bill', 'period_not_ended') then 'open'
            when not_final_reason_type is not null then 'provisional'
            else 'final'
        end as status_type,
        not_final_reason_type,
        line_count,
        unconverted_line_count,
        call_count,
        unpriced_call_count,
        invoice_usd,
        ledger_usd,
        explained_usd,
        unexplained_usd,
        unexplained_share,
        billing_period_start_date,
        billing_period_end_date
    from judged
)

select * from final
