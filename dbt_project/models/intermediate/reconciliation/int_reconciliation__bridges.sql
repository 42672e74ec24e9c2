{%- set period = period_columns() -%}
{%- set bridge_columns = [
    'component_name', 'driver_type', 'bom_layer_type', 'model_id', 'service_tier', 'unit_kind_type', 'commitment_id',
    'tagged_use_case_id', 'tagged_team_name', 'cause_type', 'line_count', 'quantity_units', 'usd_per_unit',
    'ledger_cost_usd', 'billed_cost_usd', 'evidence',
] -%}
{%- set no_text = 'cast(null as varchar)' -%}
{%- set no_units = 'cast(null as decimal(28, 3))' -%}
{%- set no_price = 'cast(null as decimal(38, 15))' -%}
with

periods as (
    select *
    from {{ ref('int_reconciliation__periods') }}
    where document_type is not null
),

bill_lines as (
    select *
    from {{ ref('fct_invoice_lines') }}
    where is_bill
),

compared as (
    select
        *,
        billed_cost_usd - coalesce(effective_cost_usd, 0) as difference_usd,
        unit_kind_type in ('web_search', 'maps_search', 'file_search', 'rerank_search', 'code_session') as is_tool
    from {{ ref('int_reconciliation__calls_compared') }}
),

-- What one call-driven key differs by, step by step; each step takes from what the steps before it left.
wholes as (
    select
        *,
        case
            when difference_usd = 0 then null
            when is_tier_absent then 'tier_absent_from_report'
            when is_in_ledger and effective_cost_usd is null and is_billed then 'unpriced_usage'
            when is_in_ledger then null
            when has_calls_of_unknown_account then 'unexplained'
            when is_tool then 'tool_charge'
            when workbench_units >= billed_units then 'workbench_use'
            else 'missing_telemetry'
        end as whole_cause_type
    from compared
),

measured as (
    select
        *,
        case
            when whole_cause_type is null and is_billed and unpriced_units > 0
                then cast(unpriced_units * usd_per_unit as decimal(38, 15))
            else 0
        end as unpriced_usd,
        case
            when whole_cause_type is null and is_in_ledger and is_billed and usd_per_unit is not null
                then coalesce(difference_units, 0) - shifted_units
            else 0
        end as missing_units
    from wholes
),

split as (
    select
        *,
        case when missing_units > 0 then least(missing_units, workbench_units) else 0 end as workbench_part_units,
        case when missing_units > 0 then missing_units - least(missing_units, workbench_units) else 0 end
            as telemetry_part_units,
        case when missing_units < 0 then missing_units else 0 end as surplus_units
    from measured
),

charged as (
    select
        *,
        cast(workbench_part_units * usd_per_unit as decimal(38, 15)) as workbench_usd,
        cast(telemetry_part_units * usd_per_unit as decimal(38, 15)) as telemetry_usd,
        cast(surplus_units * usd_per_unit as decimal(38, 15)) as surplus_usd,
        case
            when whole_cause_type is not null then 0
            else
                difference_usd - unpriced_usd - case when is_billed then shifted_usd else 0 end
                - coalesce(cast(missing_units * usd_per_unit as decimal(38, 15)), 0)
        end as rest_usd
    from split
),

-- What quantities do not explain: a price that the bill does not apply, or applies otherwise, and rounding.
rested as (
    select
        *,
        case
            when abs(rest_usd) <= rounding_usd then 0
            when free_usd > 0 and abs(rest_usd - free_usd) <= rounding_usd then free_usd
            else 0
        end as free_allowance_usd,
        case
            when abs(rest_usd) <= rounding_usd then 0
            when
                list_cost_usd <> effective_cost_usd + free_usd
                and abs(rest_usd - (list_cost_usd - effective_cost_usd - free_usd)) <= rounding_usd
                then list_cost_usd - effective_cost_usd - free_usd
            else 0
        end as discount_usd
    from charged
),

finished as (
    select
        *,
        rest_usd - free_allowance_usd - discount_usd as last_usd,
        case when is_billed then billed_units else -quantity_units end as whole_units
    from rested
),

call_rows as (
    {%- set steps = [
        ('whole_cause_type', 'difference_usd', 'whole_units', no_price, 'whole_cause_type is not null'),
        ("'unpriced_usage'", 'unpriced_usd', 'unpriced_units', 'usd_per_unit', 'unpriced_usd <> 0'),
        (
            "'time_zone_cut'", 'shifted_usd', 'shifted_units', no_price,
            'whole_cause_type is null and zone_hours is not null',
        ),
        ("'workbench_use'", 'workbench_usd', 'workbench_part_units', 'usd_per_unit', 'workbench_usd <> 0'),
        ("'missing_telemetry'", 'telemetry_usd', 'telemetry_part_units', 'usd_per_unit', 'telemetry_usd <> 0'),
        ("'unexplained'", 'surplus_usd', 'surplus_units', 'usd_per_unit', 'surplus_usd <> 0'),
        ("'free_allowance'", 'free_allowance_usd', 'free_units', no_price, 'free_allowance_usd <> 0'),
        ("'discount'", 'discount_usd', 'quantity_units', no_price, 'discount_usd <> 0'),
        (
            "case when abs(last_usd) <= rounding_usd then 'rounding'"
            ~ " when is_billed and is_in_ledger and billed_units > 0 then 'price_difference' else 'unexplained' end",
            'last_usd', 'whole_units', no_price, 'last_usd <> 0',
        ),
    ] -%}
    select
        {{ period | join(', ') }},
        'calls' as component_name,
        'calls' as driver_type,
        bom_layer_type,
        {{ compared_columns() | join(', ') }},
        cast(null as varchar) as cause_type,
        line_count,
        quantity_units,
        usd_per_unit,
        coalesce(effective_cost_usd, 0) as ledger_cost_usd,
        coalesce(effective_cost_usd, 0) as billed_cost_usd,
        cast(null as varchar) as evidence
    from finished
    where is_in_ledger
    {%- for cause, amount, units, price, condition in steps %}
    union all
    select
        {{ period | join(', ') }},
        'calls' as component_name,
        'calls' as driver_type,
        bom_layer_type,
        {{ compared_columns() | join(', ') }},
        {{ cause }} as cause_type,
        case when is_in_ledger then 0 else line_count end as line_count,
        {{ units }} as quantity_units,
        {{ price }} as usd_per_unit,
        0 as ledger_cost_usd,
        {{ amount }} as billed_cost_usd,
        {% if cause == "'time_zone_cut'" -%}
        concat('days begin ', cast(zone_hours as varchar), ' h after UTC')
        {%- elif loop.first -%}
        case when whole_cause_type = 'unexplained' then 'account_of_calls_unknown' end
        {%- else -%}
        cast(null as varchar)
        {%- endif %} as evidence
    from finished
    where {{ condition }}
    {%- endfor %}
    union all
    select
        {{ period | join(', ') }},
        'calls' as component_name,
        'calls' as driver_type,
        bom_layer_type,
        {{ compared_columns() | join(', ') }},
        'late_usage' as cause_type,
        0 as line_count,
        -late_units as quantity_units,
        {{ no_price }} as usd_per_unit,
        0 as ledger_cost_usd,
        -late_usd as billed_cost_usd,
        'billed in a later period' as evidence
    from finished
    where late_usd <> 0
),

late_rows as (
    select
        {{ period | join(', ') }},
        'calls' as component_name,
        'calls' as driver_type,
        bom_layer_type,
        coalesce(model_id, model_name) as model_id,
        service_tier,
        unit_kind_type,
        'late_usage' as cause_type,
        count(*) as line_count,
        case when count(consumed_quantity_units) = count(*) then sum(consumed_quantity_units) end as quantity_units,
        {{ no_price }} as usd_per_unit,
        0 as ledger_cost_usd,
        coalesce(sum(billed_cost_usd), 0) as billed_cost_usd,
        'of calls before the period' as evidence
    from bill_lines
    where
        driver_type = 'calls'
        and {{ is_before_its_period() }}
    group by
        {{ period | join(', ') }}, bom_layer_type, coalesce(model_id, model_name), service_tier, unit_kind_type
),

-- Bought capacity is of the account whose bill names it, else of the provider's only one.
named_commitments as (
    select distinct
        {{ period | join(', ') }},
        commitment_id
    from bill_lines
    where
        driver_type = 'commitment'
        and commitment_id is not null
),

commitments as (
    select
        commitments.commitment_id,
        {{ listed(period, 'periods.') }},
        periods.billing_period_end_date,
        named.commitment_id is not null as is_named,
        max(case when named.commitment_id is null then 0 else 1 end) over (
            partition by commitments.commitment_id, periods.billing_period_start_date
        ) as is_named_anywhere
    from {{ ref('dim_commitments') }} as commitments
    inner join periods on commitments.provider_name = periods.provider_name
    left join named_commitments as named
        on
            {{ same_values('periods', 'named', period) }}
            and commitments.commitment_id = named.commitment_id
    where
        periods.is_only_account
        or named.commitment_id is not null
),

capacity_days as (
    select
        commitment_id,
        event_date,
        sum(used_cost_usd) as used_cost_usd,
        sum(idle_cost_usd) as idle_cost_usd,
        sum(unallocated_cost_usd) as unallocated_cost_usd
    from {{ ref('fct_capacity_hours') }}
    group by commitment_id, event_date
),

capacity as (
    select
        {{ listed(period, 'commitments.') }},
        commitments.commitment_id,
        case when commitments.is_named then commitments.commitment_id end as billed_commitment_id,
        sum(capacity_days.used_cost_usd) as used_cost_usd,
        sum(capacity_days.idle_cost_usd) as idle_cost_usd,
        sum(capacity_days.unallocated_cost_usd) as unallocated_cost_usd
    from commitments
    inner join capacity_days
        on
            commitments.commitment_id = capacity_days.commitment_id
            and commitments.billing_period_start_date <= capacity_days.event_date
            and commitments.billing_period_end_date > capacity_days.event_date
    where
        commitments.is_named
        or commitments.is_named_anywhere = 0
    group by
        {{ listed(period, 'commitments.') }},
        commitments.commitment_id, commitments.is_named
),

capacity_bills as (
    select
        {{ period | join(', ') }},
        commitment_id as billed_commitment_id,
        count(*) as line_count,
        sum({{ rounding_usd() }}) as rounding_usd,
        coalesce(sum(billed_cost_usd), 0) as billed_cost_usd
    from bill_lines
    where driver_type = 'commitment'
    group by {{ period | join(', ') }}, commitment_id
),

capacity_keys as (
    select
        {{ period | join(', ') }},
        billed_commitment_id,
        sum(used_cost_usd + idle_cost_usd + unallocated_cost_usd) as bought_cost_usd
    from capacity
    group by {{ period | join(', ') }}, billed_commitment_id
),

capacity_rests as (
    select
        {% for column in period -%}
        coalesce(bills.{{ column }}, bought.{{ column }}) as {{ column }},
        {% endfor -%}
        coalesce(bills.billed_commitment_id, bought.billed_commitment_id) as commitment_id,
        coalesce(bills.line_count, 0) as line_count,
        coalesce(bills.rounding_usd, 0) as rounding_usd,
        coalesce(bills.billed_cost_usd, 0) - coalesce(bought.bought_cost_usd, 0) as rest_usd
    from capacity_bills as bills
    full outer join capacity_keys as bought
        on {{ same_values('bills', 'bought', period + ['billed_commitment_id']) }}
),

provisioned as (
    select
        {{ period | join(', ') }},
        coalesce(sum(capacity_cost_usd), 0) as capacity_cost_usd
    from {{ ref('int_reconciliation__ledger') }}
    group by {{ period | join(', ') }}
),

used as (
    select
        {{ period | join(', ') }},
        sum(used_cost_usd) as used_cost_usd
    from capacity
    group by {{ period | join(', ') }}
),

capacity_rows as (
    {%- for cause, amount in [
        (no_text, 'used_cost_usd'), ("'idle_capacity'", 'idle_cost_usd'),
        ("'unallocated_capacity'", 'unallocated_cost_usd'),
    ] %}
    select
        {{ period | join(', ') }},
        commitment_id,
        {{ cause }} as cause_type,
        0 as line_count,
        {{ 'used_cost_usd' if loop.first else '0' }} as ledger_cost_usd,
        {{ amount }} as billed_cost_usd,
        cast(null as varchar) as evidence
    from capacity
    where {{ amount }} <> 0
    union all
    {%- endfor %}
    -- A line of bought capacity is counted where its rest stands, which may be nothing.
    select
        {{ period | join(', ') }},
        commitment_id,
        case
            when rest_usd = 0 then null
            when abs(rest_usd) <= rounding_usd then 'rounding'
            else 'unexplained'
        end as cause_type,
        line_count,
        0 as ledger_cost_usd,
        rest_usd as billed_cost_usd,
        cast(null as varchar) as evidence
    from capacity_rests
    where
        rest_usd <> 0
        or line_count > 0
    union all
    select
        {{ listed(period, 'periods.') }},
        cast(null as varchar) as commitment_id,
        'unexplained' as cause_type,
        0 as line_count,
        coalesce(provisioned.capacity_cost_usd, 0) - coalesce(used.used_cost_usd, 0) as ledger_cost_usd,
        0 as billed_cost_usd,
        'capacity_of_calls_not_bought_here' as evidence
    from periods
    left join provisioned on {{ same_values('periods', 'provisioned', period) }}
    left join used on {{ same_values('periods', 'used', period) }}
    where coalesce(provisioned.capacity_cost_usd, 0) <> coalesce(used.used_cost_usd, 0)
),

other_rows as (
    select
        {{ period | join(', ') }},
        component_name,
        driver_type,
        bom_layer_type,
        commitment_id,
        tagged_use_case_id,
        tagged_team_name,
        {{ cause_of_charge('driver_type', 'component_name') }} as cause_type,
        count(*) as line_count,
        coalesce(sum(billed_cost_usd), 0) as billed_cost_usd
    from bill_lines
    where driver_type not in ('calls', 'commitment')
    group by
        {{ period | join(', ') }}, component_name, driver_type, bom_layer_type, commitment_id, tagged_use_case_id,
        tagged_team_name
),

all_rows as (
    {%- for calls in ['call_rows', 'late_rows'] %}
    select
        {{ period | join(', ') }},
        component_name,
        driver_type,
        bom_layer_type,
        {{ compared_columns() | join(', ') }},
        cast(null as varchar) as commitment_id,
        cast(null as varchar) as tagged_use_case_id,
        cast(null as varchar) as tagged_team_name,
        cause_type,
        line_count,
        cast(quantity_units as decimal(28, 3)) as quantity_units,
        cast(usd_per_unit as decimal(38, 15)) as usd_per_unit,
        cast(ledger_cost_usd as decimal(38, 18)) as ledger_cost_usd,
        cast(billed_cost_usd as decimal(38, 18)) as billed_cost_usd,
        evidence
    from {{ calls }}
    union all
    {%- endfor %}
    select
        {{ period | join(', ') }},
        'commitment' as component_name,
        'commitment' as driver_type,
        'capacity' as bom_layer_type,
        {{ no_text }} as model_id,
        {{ no_text }} as service_tier,
        {{ no_text }} as unit_kind_type,
        commitment_id,
        {{ no_text }} as tagged_use_case_id,
        {{ no_text }} as tagged_team_name,
        cause_type,
        line_count,
        {{ no_units }} as quantity_units,
        {{ no_price }} as usd_per_unit,
        cast(ledger_cost_usd as decimal(38, 18)) as ledger_cost_usd,
        cast(billed_cost_usd as decimal(38, 18)) as billed_cost_usd,
        evidence
    from capacity_rows
    union all
    select
        {{ period | join(', ') }},
        component_name,
        driver_type,
        bom_layer_type,
        {{ no_text }} as model_id,
        {{ no_text }} as service_tier,
        {{ no_text }} as unit_kind_type,
        commitment_id,
        tagged_use_case_id,
        tagged_team_name,
        cause_type,
        line_count,
        {{ no_units }} as quantity_units,
        {{ no_price }} as usd_per_unit,
        cast(0 as decimal(38, 18)) as ledger_cost_usd,
        cast(billed_cost_usd as decimal(38, 18)) as billed_cost_usd,
        {{ no_text }} as evidence
    from other_rows
),

numbered as (
    select
        *,
        row_number() over (
            order by
                {{ period | join(', ') }}, {{ bridge_columns[:10] | join(', ') }}, evidence, billed_cost_usd
        ) as bridge_index
    from all_rows
),

waivers as (
    select * from {{ ref('seed_reconciliation_waivers') }}
),

-- People may name what is not explained, and what a charge of the bill is: one row per waiver, one waiver per row.
waivable as (
    select
        numbered.bridge_index,
        waivers.waiver_id,
        waivers.cause_type,
        waivers.amount_usd,
        waivers.evidence,
        row_number() over (partition by numbered.bridge_index order by waivers.waiver_id) as waiver_rank,
        row_number() over (
            partition by waivers.waiver_id
            order by abs(numbered.billed_cost_usd - numbered.ledger_cost_usd) desc, numbered.bridge_index asc
        ) as row_rank
    from numbered
    inner join waivers
        on
            numbered.provider_name = waivers.provider_name
            and numbered.billing_period_start_date = waivers.billing_period_start_date
            and (waivers.billing_account_id is null or numbered.billing_account_id = waivers.billing_account_id)
            and lower(numbered.component_name) like {{ like_of('waivers.component_pattern') }} escape '!'
            and (
                waivers.model_pattern is null
                or lower(numbered.model_id) like {{ like_of('waivers.model_pattern') }} escape '!'
            )
    where
        numbered.cause_type = 'unexplained'
        or numbered.driver_type not in ('calls', 'commitment')
),

waived as (
    select *
    from waivable
    where
        waiver_rank = 1
        and (amount_usd is null or row_rank = 1)
),

decided as (
    select
        numbered.*,
        waived.cause_type as waived_cause_type,
        waived.amount_usd as waived_usd,
        waived.evidence as waived_evidence
    from numbered
    left join waived on numbered.bridge_index = waived.bridge_index
),

-- A waiver of a part leaves the rest where it was.
final as (
    select
        {{ (period + bridge_columns[:9]) | join(',\n        ') }},
        coalesce(waived_cause_type, cause_type) as cause_type,
        cast(line_count as bigint) as line_count,
        case when waived_usd is null then quantity_units end as quantity_units,
        case when waived_usd is null then usd_per_unit end as usd_per_unit,
        ledger_cost_usd,
        cast(coalesce(waived_usd + ledger_cost_usd, billed_cost_usd) as decimal(38, 18)) as billed_cost_usd,
        coalesce(waived_evidence, evidence) as evidence
    from decided
    union all
    select
        {{ (period + bridge_columns[:9]) | join(',\n        ') }},
        cause_type,
        cast(0 as bigint) as line_count,
        {{ no_units }} as quantity_units,
        {{ no_price }} as usd_per_unit,
        cast(0 as decimal(38, 18)) as ledger_cost_usd,
        cast(billed_cost_usd - ledger_cost_usd - waived_usd as decimal(38, 18)) as billed_cost_usd,
        evidence
    from decided
    where waived_usd <> billed_cost_usd - ledger_cost_usd
)

select * from final
