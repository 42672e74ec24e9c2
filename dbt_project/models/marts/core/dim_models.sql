select
    reported_provider_name,
    reported_model_name as model_name,
    provider_name,
    rate_provider_name,
    model_id,
    resolution_type,
    cast(call_count as bigint) as call_count
from {{ ref('int_pricing__models_resolved') }}
