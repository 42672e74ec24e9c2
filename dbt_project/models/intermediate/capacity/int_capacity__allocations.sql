with

commitments as (
    select * from {{ ref('seed_commitments') }}
),

deployments as (
    select * from {{ ref('int_capacity__deployments') }}
),

throughputs as (
    select * from {{ ref('seed_capacity_throughputs') }}
),

-- A reservation that no deployment names covers those of its deployment type, region and scope.
matched as (
    select
        deployments.deployment_id,
        commitments.commitment_id,
        commitments.provider_name,
        commitments.unit_name,
        deployments.model_id,
        deployments.allocated_units,
        deployments.spillover_deployment_id,
        greatest(deployments.starts_at, commitments.starts_at) as starts_at,
        least(deployments.ends_at, commitments.ends_at) as ends_at
    from deployments
    inner join commitments
        on
            deployments.starts_at < commitments.ends_at
            and deployments.ends_at > commitments.starts_at
            and (
                deployments.commitment_id = commitments.commitment_id
                or (
                    deployments.commitment_id is null
                    and deployments.allocated_units is not null
                    and deployments.provider_name = commitments.provider_name
                    and deployments.deployment_type = commitments.deployment_type
                    and coalesce(commitments.region_id, deployments.region_id, '') = coalesce(deployments.region_id, '')
                    and coalesce(commitments.scope_id, deployments.scope_id, '') = coalesce(deployments.scope_id, '')
                )
            )
),

-- What a unit can do changes on a day; without any row of reference data the throughput stays unknown.
final as (
    select
        matched.deployment_id,
        matched.commitment_id,
        matched.model_id,
        throughputs.direction as direction_type,
        matched.allocated_units,
        throughputs.input_tokens_per_minute_per_unit,
        case when throughputs.direction = 'output' then 0 else 1 end as input_token_weight,
        throughputs.cache_read_token_weight,
        throughputs.output_token_weight,
        throughputs.enforcement_window_s,
        matched.spillover_deployment_id,
        greatest(
            matched.starts_at, coalesce(cast(throughputs.valid_from as timestamp with time zone), matched.starts_at)
        ) as starts_at,
        least(
            matched.ends_at, coalesce(cast(throughputs.valid_to as timestamp with time zone), matched.ends_at)
        ) as ends_at
    from matched
    left join throughputs
        on
            matched.provider_name = throughputs.provider_name
            and matched.unit_name = throughputs.unit_name
            and matched.model_id = throughputs.model_id
            and cast(throughputs.valid_from as timestamp with time zone) < matched.ends_at
            and (
                throughputs.valid_to is null
                or cast(throughputs.valid_to as timestamp with time zone) > matched.starts_at
            )
)

select * from final
