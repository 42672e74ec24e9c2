{%- set terms = [
    'provider_name', 'model_id', 'publisher_name', 'deployment_type', 'region_id', 'scope_id', 'spillover_deployment_id',
] %}
with

stated as (
    select * from {{ ref('seed_deployments') }}
),

known as (
    select distinct deployment_id
    from stated
),

-- What the company states itself goes before what is observed.
observed as (
    select observations.*
    from {{ ref('stg_capacity__deployments') }} as observations
    left join known on observations.deployment_id = known.deployment_id
    where
        observations.reject_reason is null
        and known.deployment_id is null
),

snapshots as (
    select
        source_name,
        observed_at,
        coalesce(
            lead(observed_at) over (partition by source_name order by observed_at), {{ end_of_time() }}
        ) as superseded_at
    from (
        select distinct
            source_name,
            observed_at
        from {{ ref('stg_capacity__deployments') }}
        where
            is_snapshot
            and reject_reason is null
    ) as observations
),

held as (
    select
        observed.deployment_id,
        observed.commitment_id,
        {%- for term in terms %}
        observed.{{ term }},
        {%- endfor %}
        observed.allocated_units,
        greatest(snapshots.observed_at, coalesce(observed.starts_at, snapshots.observed_at)) as starts_at,
        snapshots.superseded_at as ends_at
    from observed
    inner join snapshots
        on
            observed.source_name = snapshots.source_name
            and observed.observed_at = snapshots.observed_at
    where
        observed.is_snapshot
        and observed.deployment_id is not null
        and coalesce(observed.starts_at, snapshots.observed_at) < snapshots.superseded_at
    union all
    select
        deployment_id,
        commitment_id,
        {%- for term in terms %}
        {{ term }},
        {%- endfor %}
        allocated_units,
        starts_at,
        coalesce(ends_at, {{ end_of_time() }}) as ends_at
    from observed
    where not is_snapshot
),

changes as (
    select
        deployment_id,
        commitment_id,
        starts_at as changed_at
    from held
    union
    select
        deployment_id,
        commitment_id,
        ends_at as changed_at
    from held
),

pieces as (
    select
        *,
        lead(changed_at) over (partition by deployment_id, commitment_id order by changed_at) as next_at
    from changes
),

-- Instances come and go: a deployment holds the sum of those that are there.
summed as (
    select
        pieces.deployment_id,
        pieces.commitment_id,
        {%- for term in terms %}
        max(held.{{ term }}) as {{ term }},
        {%- endfor %}
        cast(sum(held.allocated_units) as bigint) as allocated_units,
        pieces.changed_at as starts_at,
        pieces.next_at as ends_at
    from pieces
    inner join held
        on
            pieces.deployment_id = held.deployment_id
            and coalesce(pieces.commitment_id, '') = coalesce(held.commitment_id, '')
            and pieces.changed_at >= held.starts_at
            and pieces.changed_at < held.ends_at
    group by pieces.deployment_id, pieces.commitment_id, pieces.changed_at, pieces.next_at
),

-- One period as long as nothing changes, however often it was observed.
following as (
    select
        *,
        {%- for term in ['allocated_units'] + terms %}
        lag({{ term }}) over (partition by deployment_id, commitment_id order by starts_at) as former_{{ term }},
        {%- endfor %}
        lag(ends_at) over (partition by deployment_id, commitment_id order by starts_at) as former_ends_at
    from summed
),

compared as (
    select
        *,
        case
            when
                former_ends_at = starts_at
                {%- for term in ['allocated_units'] + terms %}
                and ({{ term }} is not distinct from former_{{ term }})
                {%- endfor %}
                then 0
            else 1
        end as is_change
    from following
),

numbered as (
    select
        *,
        sum(is_change) over (
            partition by deployment_id, commitment_id
            order by starts_at
            rows between unbounded preceding and current row
        ) as period_index
    from compared
),

final as (
    select
        deployment_id,
        commitment_id,
        {%- for term in terms %}
        {{ term }},
        {%- endfor %}
        allocated_units,
        starts_at,
        ends_at,
        false as is_observed
    from stated
    union all
    select
        deployment_id,
        commitment_id,
        {%- for term in terms %}
        max({{ term }}) as {{ term }},
        {%- endfor %}
        max(allocated_units) as allocated_units,
        min(starts_at) as starts_at,
        max(ends_at) as ends_at,
        true as is_observed
    from numbered
    group by deployment_id, commitment_id, period_index
)

select * from final
