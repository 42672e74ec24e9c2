with

reported as (
    select
        provider_name as reported_provider_name,
        model_name as reported_model_name,
        sum(call_count) as call_count
    from {{ ref('int_usage__models_reported') }}
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
    from {{ ref('int_pricing__model_matches') }}
),

named as (
    select
        reported.reported_provider_name,
        reported.reported_model_name,
        coalesce(provider_aliases.provider_name, lower(reported.reported_provider_name)) as provider_name,
        reported.call_count
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
        named.call_count
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
