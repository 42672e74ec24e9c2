select
    deployment_id,
    commitment_id,
    provider_name,
    model_id,
    spillover_deployment_id,
    cast(allocated_units as bigint) as allocated_count,
    cast(input_tokens_per_minute_per_unit as bigint) as input_tokens_per_minute_per_unit,
    cast(output_token_weight as decimal(9, 3)) as output_token_weight,
    starts_at,
    ends_at
from {{ ref('seed_deployments') }}
