with

deployments as (
    select * from {{ ref('int_capacity__deployments') }}
),

allocations as (
    select * from {{ ref('int_capacity__allocations') }}
),

latest as (
    select
        *,
        min(starts_at) over (partition by deployment_id, commitment_id) as first_starts_at,
        row_number() over (partition by deployment_id, commitment_id order by starts_at desc) as period_rank
    from deployments
),

drawn as (
    select
        *,
        row_number() over (partition by deployment_id, commitment_id order by starts_at desc) as period_rank
    from allocations
)

select
    latest.deployment_id,
    coalesce(drawn.commitment_id, latest.commitment_id) as commitment_id,
    latest.provider_name,
    latest.model_id,
    latest.publisher_name,
    latest.deployment_type,
    latest.region_id,
    latest.scope_id,
    latest.spillover_deployment_id,
    drawn.direction_type,
    cast(latest.allocated_units as bigint) as allocated_count,
    cast(drawn.input_tokens_per_minute_per_unit as bigint) as input_tokens_per_minute_per_unit,
    cast(drawn.output_token_weight as decimal(9, 3)) as output_token_weight,
    cast(drawn.enforcement_window_s as bigint) as enforcement_window_s,
    latest.first_starts_at as starts_at,
    latest.ends_at
from latest
left join drawn
    on
        latest.deployment_id = drawn.deployment_id
        and (latest.commitment_id is null or latest.commitment_id = drawn.commitment_id)
        and drawn.period_rank = 1
where latest.period_rank = 1
