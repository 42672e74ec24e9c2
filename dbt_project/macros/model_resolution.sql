{#-
    Which model a reported name means. Calls, bills and providers' usage reports name models in the same ways and are
    resolved by the same rules, each over the names that it has itself: a bill that cannot be read leaves pricing alone.
-#}

{#- The models of each catalogue that the names in the model `reported` mean: by alias, by identity, by pattern. -#}
{% macro model_matches(reported) -%}
with

reported as (
    select distinct
        provider_name as reported_provider_name,
        model_name as reported_model_name
    from {{ ref(reported) }}
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
{%- endmacro %}

{#- One model per name: that of the first catalogue, else an alias, else a contract that states a price for the name. -#}
{% macro models_resolved(reported, matches, count_column) -%}
with

reported as (
    select
        provider_name as reported_provider_name,
        model_name as reported_model_name,
        sum({{ count_column }}) as {{ count_column }}
    from {{ ref(reported) }}
    group by provider_name, model_name
),

provider_aliases as (
    select * from {{ ref('seed_provider_aliases') }}
),

model_aliases as (
    select * from {{ ref('seed_model_aliases') }}
),

terms as (
    select distinct
        provider_name,
        lower(model_pattern) as model_pattern,
        model_like
    from {{ ref('stg_contract_files__terms') }}
    where term_type = 'unit_price'
),

ranked_matches as (
    select
        *,
        row_number() over (
            partition by reported_provider_name, reported_model_name
            order by source_rank, source_name
        ) as catalogue_rank
    from {{ ref(matches) }}
),

named as (
    select
        reported.reported_provider_name,
        reported.reported_model_name,
        coalesce(provider_aliases.provider_name, lower(reported.reported_provider_name)) as provider_name,
        reported.{{ count_column }}
    from reported
    left join provider_aliases on lower(reported.reported_provider_name) = provider_aliases.reported_provider_name
),

-- A model that no catalogue lists is known all the same when a contract or an own list states a price for its name.
by_contract as (
    select
        named.reported_provider_name,
        named.reported_model_name,
        named.reported_model_name as model_id
    from named
    inner join terms
        on
            named.provider_name = terms.provider_name
            and lower(named.reported_model_name) = terms.model_pattern
    union
    select
        named.reported_provider_name,
        named.reported_model_name,
        named.reported_model_name as model_id
    from named
    inner join terms
        on
            named.provider_name = terms.provider_name
            and terms.model_pattern like '%*%'
            and lower(named.reported_model_name) like terms.model_like escape '!'
),

final as (
    select
        named.reported_provider_name,
        named.reported_model_name,
        named.provider_name,
        ranked_matches.rate_provider_name,
        coalesce(ranked_matches.model_id, model_aliases.model_id, by_contract.model_id) as model_id,
        case
            when ranked_matches.resolution_type is not null then ranked_matches.resolution_type
            when model_aliases.model_id is not null then 'alias'
            when by_contract.model_id is not null then 'contract'
            else 'unresolved'
        end as resolution_type,
        named.{{ count_column }}
    from named
    left join ranked_matches
        on
            named.reported_provider_name = ranked_matches.reported_provider_name
            and named.reported_model_name = ranked_matches.reported_model_name
            and ranked_matches.catalogue_rank = 1
    left join model_aliases
        on
            named.provider_name = model_aliases.provider_name
            and lower(named.reported_model_name) = lower(model_aliases.model_name)
    left join by_contract
        on
            named.reported_provider_name = by_contract.reported_provider_name
            and named.reported_model_name = by_contract.reported_model_name
)

select * from final
{%- endmacro %}
