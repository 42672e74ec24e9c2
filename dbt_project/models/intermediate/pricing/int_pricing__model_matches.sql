with

reported as (
    select distinct
        provider_name as reported_provider_name,
        model_name as reported_model_name
    from {{ ref('int_usage__models_reported') }}
),

provider_aliases as (
    select * from {{ ref('seed_provider_aliases') }}
),

model_aliases as (
    select * from {{ ref('seed_model_aliases') }}
),

listed as (
    select distinct
        source_name,
        source_rank,
        provider_name,
        model_id
    from {{ ref('int_pricing__rates') }}
    where source_rank > 0
),

patterns as (
    select * from {{ ref('stg_genai_prices__model_patterns') }}
),

-- The catalogue's own name of the provider, then the provider whose list stands in when it has none for a model.
candidates as (
    select
        reported.reported_provider_name,
        reported.reported_model_name,
        lower(reported.reported_model_name) as lookup_name,
        coalesce(provider_aliases.provider_name, lower(reported.reported_provider_name)) as provider_name,
        1 as provider_rank
    from reported
    left join provider_aliases on lower(reported.reported_provider_name) = provider_aliases.reported_provider_name
    union all
    select
        reported.reported_provider_name,
        reported.reported_model_name,
        lower(reported.reported_model_name) as lookup_name,
        provider_aliases.fallback_provider_name as provider_name,
        2 as provider_rank
    from reported
    inner join provider_aliases on lower(reported.reported_provider_name) = provider_aliases.reported_provider_name
    where provider_aliases.fallback_provider_name is not null
),

by_alias as (
    select
        candidates.*,
        listed.source_name,
        listed.model_id,
        'alias' as resolution_type,
        1 as resolution_rank,
        0 as pattern_priority
    from candidates
    inner join model_aliases
        on
            candidates.provider_name = model_aliases.provider_name
            and candidates.lookup_name = lower(model_aliases.model_name)
    inner join listed
        on
            candidates.provider_name = listed.provider_name
            and lower(model_aliases.model_id) = lower(listed.model_id)
),

by_identity as (
    select
        candidates.*,
        listed.source_name,
        listed.model_id,
        'identity' as resolution_type,
        2 as resolution_rank,
        0 as pattern_priority
    from candidates
    inner join listed
        on
            candidates.provider_name = listed.provider_name
            and candidates.lookup_name = lower(listed.model_id)
),

-- A model matches when every pattern of one of its groups does.
pattern_groups as (
    select
        candidates.reported_provider_name,
        candidates.reported_model_name,
        candidates.lookup_name,
        patterns.rate_provider_name as provider_name,
        candidates.provider_rank,
        patterns.source_name,
        patterns.model_id,
        patterns.pattern_group,
        min(patterns.pattern_priority) as pattern_priority
    from candidates
    inner join patterns on candidates.provider_name = patterns.provider_name
    group by
        candidates.reported_provider_name,
        candidates.reported_model_name,
        candidates.lookup_name,
        patterns.rate_provider_name,
        candidates.provider_rank,
        patterns.source_name,
        patterns.model_id,
        patterns.pattern_group
    having
        count(*) = sum(
            case
                when {{ regexp_found('candidates.lookup_name', 'patterns.regex') }} <> patterns.is_negated then 1
                else 0
            end
        )
),

by_pattern as (
    select
        pattern_groups.reported_provider_name,
        pattern_groups.reported_model_name,
        pattern_groups.lookup_name,
        pattern_groups.provider_name,
        pattern_groups.provider_rank,
        pattern_groups.source_name,
        pattern_groups.model_id,
        'pattern' as resolution_type,
        3 as resolution_rank,
        pattern_groups.pattern_priority
    from pattern_groups
    inner join listed
        on
            pattern_groups.source_name = listed.source_name
            and pattern_groups.provider_name = listed.provider_name
            and pattern_groups.model_id = listed.model_id
),

matches as (
    select * from by_alias
    union all
    select * from by_identity
    union all
    select * from by_pattern
),

ranked as (
    select
        *,
        row_number() over (
            partition by reported_provider_name, reported_model_name, source_name
            order by provider_rank, resolution_rank, pattern_priority, provider_name, model_id
        ) as match_rank
    from matches
),

final as (
    select
        reported_provider_name,
        reported_model_name,
        source_name,
        provider_name as rate_provider_name,
        model_id,
        resolution_type,
        {{ precedence_of('source_name') }} as source_rank
    from ranked
    where match_rank = 1
)

select * from final
