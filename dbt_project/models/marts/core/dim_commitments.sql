with

commitments as (
    select * from {{ ref('seed_commitments') }}
),

ranked as (
    select
        *,
        min(starts_at) over (partition by commitment_id) as first_starts_at,
        row_number() over (partition by commitment_id order by starts_at desc) as period_rank
    from commitments
)

select
    commitment_id,
    provider_name,
    commitment_type,
    deployment_type,
    region_id,
    scope_id,
    model_id,
    publisher_name,
    unit_name,
    evidence,
    cast(bought_units as bigint) as bought_count,
    cast(usd_per_unit_hour as decimal(18, 9)) as usd_per_unit_hour,
    cast(usd_per_overage_unit_hour as decimal(18, 9)) as usd_per_overage_unit_hour,
    first_starts_at as starts_at,
    ends_at
from ranked
where period_rank = 1
