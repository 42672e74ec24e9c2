{%- set period = period_columns() -%}
{%- set compared = compared_columns() -%}
{%- set keys = period + compared -%}
with

periods as (
    select *
    from {{ ref('int_reconciliation__periods') }}
    where document_type is not null
),

-- Charges of a time before the bill's own period belong to the calls of that time.
lines as (
    select
        billed.provider_name,
        billed.billing_account_id,
        coalesce(former.billing_period_start_date, billed.billing_period_start_date) as billing_period_start_date,
        coalesce(billed.model_id, billed.model_name) as model_id,
        billed.service_tier,
        billed.unit_kind_type,
        billed.bom_layer_type,
        billed.billed_cost_usd,
        billed.consumed_quantity_units,
        {{ rounding_usd('billed.') }} as rounding_usd,
        former.provider_name is not null as is_billed_later
    from {{ ref('fct_invoice_lines') }} as billed
    left join periods as former
        on
            billed.provider_name = former.provider_name
            and billed.billing_account_id is not distinct from former.billing_account_id
            and billed.billing_period_start_date > former.billing_period_start_date
            and {{ is_before_its_period('billed.') }}
            and cast(billed.charge_period_start_at as date) >= former.billing_period_start_date
            and cast(billed.charge_period_start_at as date) < former.billing_period_end_date
    where
        billed.is_bill
        and billed.driver_type = 'calls'
        and (former.provider_name is not null or not {{ is_before_its_period('billed.') }})
),

bill_keys as (
    select
        {{ keys | join(',\n        ') }},
        min(bom_layer_type) as bom_layer_type,
        sum(case when is_billed_later then 0 else 1 end) as line_count,
        sum(rounding_usd) as rounding_usd,
        sum(billed_cost_usd) as billed_cost_usd,
        sum(case when is_billed_later then billed_cost_usd end) as late_usd,
        case
            when unit_kind_type is not null and count(consumed_quantity_units) = count(*)
                then sum(consumed_quantity_units)
        end as billed_units,
        case
            when unit_kind_type is not null then sum(case when is_billed_later then consumed_quantity_units end)
        end as late_units
    from lines
    group by {{ keys | join(', ') }}
),

billed_requests as (
    select distinct {{ period | join(', ') }}
    from bill_keys
    where unit_kind_type = 'request'
),

-- Every call is one request: requests are compared where they cost something or are billed.
ledger_keys as (
    select
        {{ listed(keys, 'ledger.') }},
        sum(ledger.quantity_units) as quantity_units,
        sum(ledger.unpriced_units) as unpriced_units,
        sum(ledger.free_units) as free_units,
        sum(ledger.unpriced_call_count) as unpriced_call_count,
        min(ledger.min_usd_per_unit) as min_usd_per_unit,
        max(ledger.max_usd_per_unit) as max_usd_per_unit,
        sum(ledger.list_cost_usd) as list_cost_usd,
        sum(ledger.free_usd) as free_usd,
        sum(ledger.effective_cost_usd) as effective_cost_usd
    from {{ ref('int_reconciliation__ledger') }} as ledger
    inner join periods on {{ same_values('ledger', 'periods', period) }}
    left join billed_requests on {{ same_values('ledger', 'billed_requests', period) }}
    where
        ledger.quantity_units > 0
        and (
            ledger.unit_kind_type <> 'request'
            or ledger.effective_cost_usd <> 0
            or billed_requests.provider_name is not null
        )
    group by
        {{ listed(keys, 'ledger.') }}
),

covered_ledger as (
    {{ covered_by('ledger_keys', 'bill_keys', period) }}
),

ledger as (
    select
        {{ period | join(', ') }},
        {% for column in compared -%}
        key_{{ column }} as {{ column }},
        {% endfor -%}
        sum(quantity_units) as quantity_units,
        sum(unpriced_units) as unpriced_units,
        sum(free_units) as free_units,
        sum(unpriced_call_count) as unpriced_call_count,
        min(min_usd_per_unit) as min_usd_per_unit,
        max(max_usd_per_unit) as max_usd_per_unit,
        sum(list_cost_usd) as list_cost_usd,
        sum(free_usd) as free_usd,
        sum(effective_cost_usd) as effective_cost_usd
    from covered_ledger
    group by
        {{ listed(period) }},
        {{ listed(compared, 'key_') }}
),

-- What the provider itself says was used at its workbench, which no telemetry sees.
workbench_keys as (
    select
        {{ listed(period, 'periods.') }},
        coalesce(reported.model_id, reported.model_name) as model_id,
        reported.service_tier,
        reported.unit_kind_type,
        sum(reported.quantity_units) as workbench_units
    from {{ ref('fct_provider_usage') }} as reported
    inner join periods
        on
            reported.provider_name = periods.provider_name
            and (
                reported.billing_account_id is not distinct from periods.billing_account_id
                or (reported.billing_account_id is null and periods.is_only_account)
            )
            and reported.event_date >= periods.billing_period_start_date
            and reported.event_date < periods.billing_period_end_date
    where reported.is_workbench
    group by
        {{ listed(period, 'periods.') }},
        coalesce(reported.model_id, reported.model_name), reported.service_tier, reported.unit_kind_type
),

covered_workbench as (
    {{ covered_by('workbench_keys', 'bill_keys', period) }}
),

workbench as (
    select
        {{ period | join(', ') }},
        {% for column in compared -%}
        key_{{ column }} as {{ column }},
        {% endfor -%}
        sum(workbench_units) as workbench_units
    from covered_workbench
    group by
        {{ listed(period) }},
        {{ listed(compared, 'key_') }}
),

zones as (
    {%- for hours in range(-14, 13) if hours %}
    select cast({{ hours }} as integer) as zone_hours
    {{- ' union all' if not loop.last }}
    {%- endfor %}
),

-- A bill whose days begin some hours after UTC's loses those hours at its period's start and gains them at its end.
shifted_hours as (
    select
        {{ listed(period, 'periods.') }},
        hours.model_id,
        hours.service_tier,
        hours.unit_kind_type,
        zones.zone_hours,
        sum(
            case
                when (zones.zone_hours > 0) = (hours.edge_date = periods.billing_period_end_date) then 1
                else -1
            end * hours.quantity_units
        ) as shifted_units,
        sum(
            case
                when (zones.zone_hours > 0) = (hours.edge_date = periods.billing_period_end_date) then 1
                else -1
            end * hours.contracted_cost_usd
        ) as shifted_usd
    from {{ ref('int_reconciliation__edge_hours') }} as hours
    inner join periods
        on
            hours.provider_name = periods.provider_name
            and (
                hours.edge_date = periods.billing_period_start_date
                or hours.edge_date = periods.billing_period_end_date
            )
            and (
                hours.billing_account_id is not distinct from periods.billing_account_id
                or (hours.billing_account_id is null and periods.is_only_account)
            )
    inner join zones
        on
            (zones.zone_hours > 0 and hours.hours_from_edge >= 0 and hours.hours_from_edge < zones.zone_hours)
            or (zones.zone_hours < 0 and hours.hours_from_edge < 0 and hours.hours_from_edge >= zones.zone_hours)
    group by
        {{ listed(period, 'periods.') }},
        hours.model_id, hours.service_tier, hours.unit_kind_type, zones.zone_hours
),

covered_hours as (
    {{ covered_by('shifted_hours', 'bill_keys', period, ['zone_hours']) }}
),

shifts as (
    select
        {{ period | join(', ') }},
        {% for column in compared -%}
        key_{{ column }} as {{ column }},
        {% endfor -%}
        zone_hours,
        sum(shifted_units) as shifted_units,
        sum(shifted_usd) as shifted_usd
    from covered_hours
    group by
        {{ listed(period) }},
        {{ listed(compared, 'key_') }},
        zone_hours
),

matched as (
    select
        {% for column in keys -%}
        coalesce(bill_keys.{{ column }}, ledger.{{ column }}) as {{ column }},
        {% endfor -%}
        bill_keys.provider_name is not null as is_billed,
        ledger.provider_name is not null as is_in_ledger,
        coalesce(bill_keys.bom_layer_type, 'model_calls') as bom_layer_type,
        coalesce(bill_keys.line_count, 0) as line_count,
        coalesce(bill_keys.rounding_usd, {{ smallest_rounding_usd() }}) as rounding_usd,
        coalesce(bill_keys.billed_cost_usd, 0) as billed_cost_usd,
        coalesce(bill_keys.late_usd, 0) as late_usd,
        bill_keys.late_units,
        bill_keys.billed_units,
        coalesce(ledger.quantity_units, 0) as quantity_units,
        coalesce(ledger.unpriced_units, 0) as unpriced_units,
        coalesce(ledger.free_units, 0) as free_units,
        coalesce(ledger.unpriced_call_count, 0) as unpriced_call_count,
        ledger.list_cost_usd,
        coalesce(ledger.free_usd, 0) as free_usd,
        ledger.effective_cost_usd,
        case
            when ledger.min_usd_per_unit = ledger.max_usd_per_unit and ledger.unpriced_units = 0
                then ledger.min_usd_per_unit
            else {{ usd_per_unit(
                'ledger.effective_cost_usd', 'ledger.quantity_units - ledger.unpriced_units - ledger.free_units'
            ) }}
        end as usd_per_unit,
        bill_keys.billed_units - case
            when bill_keys.billed_units = ledger.quantity_units - ledger.free_units then bill_keys.billed_units
            else coalesce(ledger.quantity_units, 0)
        end as difference_units
    from bill_keys
    full outer join ledger on {{ same_values('bill_keys', 'ledger', keys) }}
),

-- One zone per period: the one in which most of what differs agrees to the unit.
zone_matches as (
    select
        {{ listed(period, 'matched.') }},
        shifts.zone_hours,
        row_number() over (
            partition by matched.{{ period | join(', matched.') }}
            order by count(*) desc, abs(shifts.zone_hours) asc, shifts.zone_hours asc
        ) as zone_rank
    from matched
    inner join shifts on {{ same_values('matched', 'shifts', keys) }}
    where
        matched.difference_units <> 0
        and matched.difference_units = shifts.shifted_units
    group by
        {{ listed(period, 'matched.') }},
        shifts.zone_hours
),

tiers as (
    select distinct
        {{ period | join(', ') }},
        service_tier
    from bill_keys
),

final as (
    select
        matched.*,
        periods.document_type,
        periods.has_calls_of_unknown_account,
        shifts.zone_hours,
        coalesce(shifts.shifted_units, 0) as shifted_units,
        cast(coalesce(shifts.shifted_usd, 0) as decimal(38, 15)) as shifted_usd,
        coalesce(workbench.workbench_units, 0) as workbench_units,
        periods.document_type = 'cost_report'
        and not matched.is_billed
        and coalesce(matched.service_tier, 'standard') <> 'standard'
        and tiers.provider_name is null as is_tier_absent
    from matched
    inner join periods on {{ same_values('matched', 'periods', period) }}
    left join workbench on {{ same_values('matched', 'workbench', keys) }}
    left join zone_matches
        on
            {{ same_values('matched', 'zone_matches', period) }}
            and zone_matches.zone_rank = 1
    left join shifts
        on
            {{ same_values('matched', 'shifts', keys) }}
            and zone_matches.zone_hours = shifts.zone_hours
            and matched.difference_units = shifts.shifted_units
            and matched.difference_units <> 0
    left join tiers
        on
            {{ same_values('matched', 'tiers', period + ['service_tier']) }}
)

select * from final
