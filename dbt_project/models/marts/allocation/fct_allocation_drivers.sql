{%- set targets = ['use_case_id', 'environment_name', 'customer_id'] -%}
with

drivers_in_use as (
    select distinct driver_name
    from {{ ref('seed_allocation_rules') }}
    where driver_name is not null
),

commitments_of_deployments as (
    select
        deployment_id,
        max(commitment_id) as commitment_id
    from {{ ref('dim_deployments') }}
    group by deployment_id
),

-- Calls of no use case drive nothing: what they cost is theirs, and nobody can be asked for more.
uses as (
    select
        charges.event_date,
        charges.provider_name,
        paid_days.paying_account_id as billing_account_id,
        paid_days.billing_period_start_date,
        deployments.commitment_id,
        charges.use_case_id,
        charges.environment_name,
        charges.customer_id,
        sum(case when charges.unit_kind_type = 'request' then charges.call_count else 0 end) as call_count,
        sum(case when kinds.direction_type = 'input' and kinds.is_token then charges.quantity_units else 0 end)
            as input_tokens,
        sum(case when kinds.direction_type = 'output' and kinds.is_token then charges.quantity_units else 0 end)
            as output_tokens,
        sum(coalesce(charges.contracted_cost_usd, 0)) as contracted_cost_usd,
        sum(coalesce(charges.effective_cost_usd, 0)) as effective_cost_usd,
        sum(case when charges.pricing_status_type = 'provisioned' then charges.effective_cost_usd else 0 end)
            as capacity_cost_usd
    from {{ ref('int_allocation__daily_charges') }} as charges
    inner join {{ ref('int_reconciliation__day_periods') }} as paid_days
        on {{ same_values('charges', 'paid_days', ['provider_name', 'billing_account_id', 'event_date']) }}
    left join {{ ref('seed_unit_kinds') }} as kinds on charges.unit_kind_type = kinds.unit_kind
    left join commitments_of_deployments as deployments on charges.deployment_id = deployments.deployment_id
    where charges.use_case_id is not null
    group by
        charges.event_date, charges.provider_name, paid_days.paying_account_id, paid_days.billing_period_start_date,
        deployments.commitment_id, charges.use_case_id, charges.environment_name, charges.customer_id
),

periods as (
    select distinct
        billing_period_start_date,
        billing_period_end_date
    from {{ ref('int_reconciliation__periods') }}
    union
    select distinct
        period_month as billing_period_start_date,
        cast(period_month + interval '1' month as date) as billing_period_end_date
    from {{ ref('seed_other_costs') }}
),

-- What a commitment's unused part is spread by, what an account's charges are, and what the whole company's are.
scoped as (
    select
        'commitment' as scope_type,
        commitment_id as scope_id,
        provider_name,
        billing_account_id,
        billing_period_start_date,
        {{ targets | join(', ') }},
        {{ allocation_drivers() | join(', ') }}
    from uses
    where commitment_id is not null
    union all
    select
        'account' as scope_type,
        cast(null as varchar) as scope_id,
        provider_name,
        billing_account_id,
        billing_period_start_date,
        {{ targets | join(', ') }},
        {{ allocation_drivers() | join(', ') }}
    from uses
    union all
    select
        'company' as scope_type,
        cast(periods.billing_period_end_date as varchar) as scope_id,
        cast(null as varchar) as provider_name,
        cast(null as varchar) as billing_account_id,
        periods.billing_period_start_date,
        {{ targets | join(', ') }},
        {{ allocation_drivers() | join(', ') }}
    from uses
    inner join periods
        on
            uses.event_date >= periods.billing_period_start_date
            and uses.event_date < periods.billing_period_end_date
),

weighed as (
    {%- for driver in allocation_drivers() %}
    select
        '{{ driver }}' as driver_name,
        scope_type,
        scope_id,
        provider_name,
        billing_account_id,
        billing_period_start_date,
        {{ targets | join(', ') }},
        {{ driver_weight(driver, driver) }} as driver_weight
    from scoped
    union all
    {%- endfor %}
    select
        'instance_count' as driver_name,
        'company' as scope_type,
        cast(periods.billing_period_end_date as varchar) as scope_id,
        cast(null as varchar) as provider_name,
        cast(null as varchar) as billing_account_id,
        periods.billing_period_start_date,
        instances.use_case_id,
        cast(null as varchar) as environment_name,
        cast(null as varchar) as customer_id,
        cast(1 as decimal(38, 0)) as driver_weight
    from {{ ref('fct_use_case_instances') }} as instances
    inner join periods
        on
            instances.started_date >= periods.billing_period_start_date
            and instances.started_date < periods.billing_period_end_date
),

final as (
    select
        weighed.driver_name,
        weighed.scope_type,
        weighed.scope_id,
        weighed.provider_name,
        weighed.billing_account_id,
        weighed.use_case_id,
        weighed.environment_name,
        weighed.customer_id,
        cast(sum(weighed.driver_weight) as decimal(38, 0)) as driver_weight,
        weighed.billing_period_start_date
    from weighed
    inner join drivers_in_use on weighed.driver_name = drivers_in_use.driver_name
    where weighed.driver_weight > 0
    group by
        weighed.driver_name, weighed.scope_type, weighed.scope_id, weighed.provider_name, weighed.billing_account_id,
        weighed.use_case_id, weighed.environment_name, weighed.customer_id, weighed.billing_period_start_date
)

select * from final
