{%- set charge_columns = [
    'charge_index', 'provider_name', 'billing_account_id', 'billing_period_start_date', 'layer_type', 'component_name',
    'cause_type',
] -%}
{%- set target_columns = ['use_case_id', 'team_name', 'environment_name', 'customer_id'] -%}
with

rules as (
    select * from {{ ref('seed_allocation_rules') }}
),

use_cases as (
    select * from {{ ref('dim_use_cases') }}
),

teams as (
    select distinct team_name
    from use_cases
),

drivers as (
    select * from {{ ref('fct_allocation_drivers') }}
),

-- What is on a bill beside calls, and what a company pays for its use cases without a bill.
charged as (
    select
        charges.provider_name,
        charges.billing_account_id,
        charges.billing_period_start_date,
        periods.billing_period_end_date,
        case
            when charges.cause_type in ('idle_capacity', 'unallocated_capacity') then charges.cause_type
            else charges.bom_layer_type
        end as layer_type,
        charges.component_name,
        charges.cause_type,
        charges.commitment_id,
        charges.tagged_use_case_id,
        charges.tagged_team_name,
        charges.charge_usd
    from {{ ref('fct_period_charges') }} as charges
    left join {{ ref('int_reconciliation__periods') }} as periods
        on {{ same_values('charges', 'periods', period_columns()) }}
    union all
    select
        vendor_name as provider_name,
        cast(null as varchar) as billing_account_id,
        period_month as billing_period_start_date,
        cast(period_month + interval '1' month as date) as billing_period_end_date,
        layer_type,
        cost_id as component_name,
        'other_cost' as cause_type,
        cast(null as varchar) as commitment_id,
        use_case_id as tagged_use_case_id,
        team_name as tagged_team_name,
        amount_usd as charge_usd
    from {{ ref('seed_other_costs') }}
),

charges as (
    select
        *,
        row_number() over (
            order by
                provider_name asc, billing_account_id asc, billing_period_start_date asc, layer_type asc,
                component_name asc, cause_type asc, commitment_id asc, tagged_use_case_id asc, tagged_team_name asc
        ) as charge_index
    from charged
),

-- A direct rule without a target covers what is tagged; a tag says whose a charge is only when it names somebody.
matched as (
    select
        charges.*,
        rules.rule_id,
        rules.rule_order,
        rules.method_type,
        rules.driver_name,
        case
            when rules.driver_name = 'instance_count' or rules.driver_scope_type = 'company' then 'company'
            when charges.commitment_id is not null then 'commitment'
            else 'account'
        end as driver_scope_type,
        coalesce(rules.use_case_id, rules.team_name) is not null as is_target_named,
        case
            when coalesce(rules.use_case_id, rules.team_name) is not null then rules.use_case_id
            when rules.method_type = 'direct' then tagged_use_cases.use_case_id
        end as target_use_case_id,
        case
            when coalesce(rules.use_case_id, rules.team_name) is not null then rules.team_name
            when rules.method_type = 'direct' and tagged_use_cases.use_case_id is null then tagged_teams.team_name
        end as target_team_name,
        rules.share as target_share
    from charges
    inner join rules
        on
            charges.billing_period_start_date >= rules.valid_from
            and charges.billing_period_start_date < coalesce(rules.valid_to, cast('9999-12-31' as date))
            and {{ pattern_covers('rules.provider_pattern', 'charges.provider_name') }}
            and {{ pattern_covers('rules.account_pattern', 'charges.billing_account_id') }}
            and {{ pattern_covers('rules.component_pattern', 'charges.component_name') }}
            and {{ pattern_covers('rules.layer_pattern', 'charges.layer_type') }}
            and {{ pattern_covers('rules.cause_pattern', 'charges.cause_type') }}
            and (
                rules.method_type <> 'direct'
                or coalesce(rules.use_case_id, rules.team_name) is not null
                or coalesce(charges.tagged_use_case_id, charges.tagged_team_name) is not null
            )
    left join use_cases as tagged_use_cases on charges.tagged_use_case_id = tagged_use_cases.use_case_id
    left join teams as tagged_teams
        on charges.tagged_team_name = tagged_teams.team_name
),

-- Whom each rule that covers a charge would give what part of it.
weighed as (
    select
        {{ charge_columns | join(', ') }},
        charge_usd,
        rule_id,
        rule_order,
        method_type,
        target_use_case_id as use_case_id,
        target_team_name as team_name,
        cast(null as varchar) as environment_name,
        cast(null as varchar) as customer_id,
        case
            when method_type = 'fixed' then cast(target_share * 1000000000 as decimal(38, 0))
            else cast(1 as decimal(38, 0))
        end as target_weight
    from matched
    where
        (method_type in ('direct', 'fixed') or (method_type = 'even' and is_target_named))
        and coalesce(target_use_case_id, target_team_name) is not null
    union all
    select
        {% for column in charge_columns -%}
        matched.{{ column }},
        {% endfor -%}
        matched.charge_usd,
        matched.rule_id,
        matched.rule_order,
        matched.method_type,
        use_cases.use_case_id,
        cast(null as varchar) as team_name,
        cast(null as varchar) as environment_name,
        cast(null as varchar) as customer_id,
        cast(1 as decimal(38, 0)) as target_weight
    from matched
    inner join use_cases
        on use_cases.valid_from_date < coalesce(matched.billing_period_end_date, matched.billing_period_start_date)
    where matched.method_type = 'even' and not matched.is_target_named
    union all
    select
        {% for column in charge_columns -%}
        matched.{{ column }},
        {% endfor -%}
        matched.charge_usd,
        matched.rule_id,
        matched.rule_order,
        matched.method_type,
        drivers.use_case_id,
        cast(null as varchar) as team_name,
        drivers.environment_name,
        drivers.customer_id,
        drivers.driver_weight as target_weight
    from matched
    left join use_cases as teams_use_cases
        on matched.target_use_case_id is null and matched.target_team_name = teams_use_cases.team_name
    inner join drivers
        on
            matched.driver_name = drivers.driver_name
            and matched.driver_scope_type = drivers.scope_type
            and matched.billing_period_start_date = drivers.billing_period_start_date
            and (
                (
                    drivers.scope_type = 'company'
                    and cast(matched.billing_period_end_date as varchar) = drivers.scope_id
                )
                or (
                    drivers.scope_type <> 'company'
                    and matched.provider_name is not distinct from drivers.provider_name
                    and matched.billing_account_id is not distinct from drivers.billing_account_id
                    and (drivers.scope_type = 'account' or matched.commitment_id = drivers.scope_id)
                )
            )
            and (
                not matched.is_target_named
                or drivers.use_case_id = coalesce(matched.target_use_case_id, teams_use_cases.use_case_id)
            )
    where matched.method_type = 'driver'
),

-- The first rule in order that has somebody to give to; those before it are named.
chosen as (
    select
        charge_index,
        rule_id,
        rule_order
    from (
        select
            charge_index,
            rule_id,
            rule_order,
            row_number() over (partition by charge_index order by rule_order asc, rule_id asc) as choice_rank
        from weighed
        where target_weight > 0
        group by charge_index, rule_id, rule_order
    ) as ranked
    where choice_rank = 1
),

skipped as (
    select
        charge_index,
        rule_id as skipped_rule_id
    from (
        select
            matched.charge_index,
            matched.rule_id,
            row_number() over (
                partition by matched.charge_index order by matched.rule_order asc, matched.rule_id asc
            ) as skip_rank
        from matched
        left join chosen on matched.charge_index = chosen.charge_index
        where chosen.rule_order is null or matched.rule_order < chosen.rule_order
    ) as ranked
    where skip_rank = 1
),

targets as (
    select weighed.*
    from weighed
    inner join chosen
        on
            weighed.charge_index = chosen.charge_index
            and weighed.rule_id = chosen.rule_id
    where weighed.target_weight > 0
),

parted as (
    {{ largest_remainder(
        'targets',
        charge_columns + ['rule_id', 'method_type'] + target_columns,
        ['charge_index'],
        target_columns,
        'target_weight',
        'charge_usd',
        'allocated_cost_usd',
    ) | indent(4) }}
),

allocated_charges as (
    select
        {% for column in charge_columns + ['rule_id', 'method_type'] + target_columns -%}
        parted.{{ column }},
        {% endfor -%}
        skipped.skipped_rule_id,
        cast(null as varchar) as unallocated_reason_type,
        parted.allocated_cost_usd,
        cast(null as bigint) as call_count,
        cast(null as bigint) as unpriced_call_count
    from parted
    left join skipped on parted.charge_index = skipped.charge_index
    union all
    select
        {% for column in charge_columns -%}
        charges.{{ column }},
        {% endfor -%}
        cast(null as varchar) as rule_id,
        cast(null as varchar) as method_type,
        {% for column in target_columns -%}
        cast(null as varchar) as {{ column }},
        {% endfor -%}
        skipped.skipped_rule_id,
        case when skipped.skipped_rule_id is null then 'no_rule' else 'nobody_to_give_to' end
            as unallocated_reason_type,
        charges.charge_usd as allocated_cost_usd,
        cast(null as bigint) as call_count,
        cast(null as bigint) as unpriced_call_count
    from charges
    left join chosen on charges.charge_index = chosen.charge_index
    left join skipped on charges.charge_index = skipped.charge_index
    where chosen.charge_index is null
),

-- What a call costs is its use case's without a rule.
calls as (
    select
        cast(null as bigint) as charge_index,
        charges.provider_name,
        paid_days.paying_account_id as billing_account_id,
        paid_days.billing_period_start_date,
        case
            when charges.pricing_status_type = 'provisioned' then 'capacity'
            when charges.unit_kind_type = 'embedding' then 'embeddings'
            else 'model_calls'
        end as layer_type,
        'calls' as component_name,
        cast(null as varchar) as cause_type,
        cast(null as varchar) as rule_id,
        'direct' as method_type,
        charges.use_case_id,
        charges.team_name,
        charges.environment_name,
        charges.customer_id,
        cast(null as varchar) as skipped_rule_id,
        case when charges.use_case_id is null then 'calls_without_use_case' end as unallocated_reason_type,
        coalesce(sum(charges.effective_cost_usd), 0) as allocated_cost_usd,
        sum(case when charges.unit_kind_type = 'request' then charges.call_count else 0 end) as call_count,
        sum(
            case
                when charges.unit_kind_type = 'request' and charges.pricing_status_type = 'unpriced'
                    then charges.call_count
                else 0
            end
        ) as unpriced_call_count
    from {{ ref('int_allocation__daily_charges') }} as charges
    inner join {{ ref('int_reconciliation__day_periods') }} as paid_days
        on {{ same_values('charges', 'paid_days', ['provider_name', 'billing_account_id', 'event_date']) }}
    group by
        charges.provider_name, paid_days.paying_account_id, paid_days.billing_period_start_date,
        case
            when charges.pricing_status_type = 'provisioned' then 'capacity'
            when charges.unit_kind_type = 'embedding' then 'embeddings'
            else 'model_calls'
        end,
        charges.use_case_id, charges.team_name, charges.environment_name, charges.customer_id
),

allocations as (
    select * from allocated_charges
    union all
    select * from calls
),

final as (
    select
        cast(date_trunc('month', allocations.billing_period_start_date) as date) as period_month_date,
        allocations.provider_name,
        allocations.billing_account_id,
        allocations.billing_period_start_date,
        allocations.layer_type,
        allocations.component_name,
        allocations.cause_type,
        allocations.use_case_id,
        coalesce(allocations.team_name, use_cases.team_name) as team_name,
        use_cases.product_name,
        allocations.environment_name,
        allocations.customer_id,
        allocations.rule_id,
        allocations.method_type,
        allocations.skipped_rule_id,
        allocations.unallocated_reason_type,
        cast(sum(allocations.allocated_cost_usd) as decimal(38, 18)) as allocated_cost_usd,
        cast(sum(allocations.call_count) as bigint) as call_count,
        cast(sum(allocations.unpriced_call_count) as bigint) as unpriced_call_count
    from allocations
    left join use_cases on allocations.use_case_id = use_cases.use_case_id
    group by
        allocations.provider_name, allocations.billing_account_id, allocations.billing_period_start_date,
        allocations.layer_type, allocations.component_name, allocations.cause_type, allocations.use_case_id,
        coalesce(allocations.team_name, use_cases.team_name), use_cases.product_name, allocations.environment_name,
        allocations.customer_id, allocations.rule_id, allocations.method_type, allocations.skipped_rule_id,
        allocations.unallocated_reason_type
)

select * from final
