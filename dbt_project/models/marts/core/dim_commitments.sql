select
    commitment_id,
    provider_name,
    commitment_type,
    region_id,
    unit_name,
    evidence,
    cast(bought_units as bigint) as bought_count,
    cast(usd_per_unit_hour as decimal(18, 9)) as usd_per_unit_hour,
    starts_at,
    ends_at
from {{ ref('seed_commitments') }}
