select
    allowance_key,
    provider_name,
    reported_provider_name,
    reported_model_name as model_name,
    service_tier,
    nullif(region_key, '') as region_id,
    unit_kind as unit_kind_type,
    source_name as allowance_source_name,
    contract_id,
    allowance_group,
    period_type,
    evidence,
    cast(allowance_units as bigint) as allowance_units,
    valid_from_at,
    valid_to_at
from {{ ref('int_pricing__allowances') }}
