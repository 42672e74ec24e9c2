select
    use_case_id,
    kpi_name,
    kpi_type,
    unit as unit_name,
    direction as direction_type,
    description,
    cast(goal as decimal(18, 6)) as goal_score,
    cast(baseline as decimal(18, 6)) as baseline_score,
    is_outcome
from {{ ref('seed_kpis') }}
