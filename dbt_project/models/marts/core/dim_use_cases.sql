select
    use_case_id,
    use_case_name,
    team_name,
    product_name,
    owner as owner_name,
    description,
    cast(valid_from as date) as valid_from_date
from {{ ref('seed_use_cases') }}
