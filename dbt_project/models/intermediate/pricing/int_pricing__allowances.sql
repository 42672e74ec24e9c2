{%- set group_columns = ['reported_provider_name', 'reported_model_name', 'service_tier', 'region_key'] -%}
{%- set kind_list = (group_columns + ['unit_kind']) | join(', ') -%}
with

reported as (
    select distinct
        provider_name as reported_provider_name,
        model_name as reported_model_name,
        service_tier,
        coalesce(lower(region_id), '') as region_key
    from {{ ref('int_usage__models_reported') }}
),

resolved as (
    select *
    from {{ ref('int_pricing__models_resolved') }}
    where model_id is not null
),

matches as (
    select * from {{ ref('int_pricing__model_matches') }}
),

terms as (
    select *
    from {{ ref('stg_contract_files__terms') }}
    where term_type = 'free_allowance'
),

catalogue_allowances as (
    {%- for model in var('allowance_models') %}
    select
        source_name,
        provider_name,
        model_id,
        allowance_group,
        unit_kind,
        period_type,
        evidence,
        allowance_units,
        valid_from_at,
        valid_to_at
    from {{ ref(model) }}
    {{ 'union all' if not loop.last }}
    {%- else %}
    select
        source_name,
        provider_name,
        model_pattern as model_id,
        allowance_group,
        unit_kind,
        period_type,
        evidence,
        allowance_units,
        valid_from_at,
        valid_to_at
    from terms
    where 1 = 0
    {%- endfor %}
),

groups as (
    select
        reported.*,
        resolved.provider_name,
        lower(resolved.model_id) as model_id,
        lower(reported.reported_model_name) as lookup_name
    from reported
    inner join resolved
        on
            reported.reported_provider_name = resolved.reported_provider_name
            and reported.reported_model_name = resolved.reported_model_name
),

-- An allowance counts per provider that bills, whoever's list states it.
candidates as (
    select
        {% for column in group_columns -%}
        groups.{{ column }},
        {% endfor -%}
        groups.provider_name,
        allowances.source_name,
        cast(null as varchar) as contract_id,
        allowances.allowance_group,
        allowances.unit_kind,
        allowances.period_type,
        allowances.evidence,
        allowances.allowance_units,
        {{ precedence_of('allowances.source_name') }} as source_rank,
        1 as model_rank,
        2 as tier_rank,
        2 as region_rank,
        allowances.valid_from_at,
        allowances.valid_to_at
    from groups
    inner join matches
        on
            groups.reported_provider_name = matches.reported_provider_name
            and groups.reported_model_name = matches.reported_model_name
    inner join catalogue_allowances as allowances
        on
            matches.source_name = allowances.source_name
            and matches.rate_provider_name = allowances.provider_name
            and matches.model_id = allowances.model_id
    union all
    select
        {% for column in group_columns -%}
        groups.{{ column }},
        {% endfor -%}
        groups.provider_name,
        terms.source_name,
        terms.contract_id,
        terms.allowance_group,
        terms.unit_kind,
        terms.period_type,
        terms.evidence,
        terms.allowance_units,
        0 as source_rank,
        case when terms.model_pattern = '*' then 2 else 1 end as model_rank,
        case when terms.service_tier is null then 2 else 1 end as tier_rank,
        case when terms.region_id is null then 2 else 1 end as region_rank,
        terms.valid_from_at,
        terms.valid_to_at
    from groups
    inner join terms
        on
            groups.provider_name = terms.provider_name
            and (
                groups.model_id like terms.model_like escape '!'
                or groups.lookup_name like terms.model_like escape '!'
            )
            and (terms.service_tier is null or groups.service_tier = terms.service_tier)
            and {{ region_covers('lower(terms.region_id)', 'groups.region_key') }}
),

-- Between two neighbouring boundaries one allowance holds: a contract's before a catalogue's, the nearest, the latest.
boundaries as (
    select
        {{ kind_list }},
        valid_from_at as boundary_at
    from candidates
    union
    select
        {{ kind_list }},
        valid_to_at as boundary_at
    from candidates
),

segments as (
    select
        {{ kind_list }},
        boundary_at as valid_from_at,
        lead(boundary_at) over (
            partition by {{ kind_list }}
            order by boundary_at
        ) as valid_to_at
    from boundaries
),

ranked as (
    select
        {% for column in group_columns + [
            'unit_kind', 'provider_name', 'source_name', 'contract_id', 'allowance_group', 'period_type', 'evidence',
            'allowance_units',
        ] -%}
        candidates.{{ column }},
        {% endfor -%}
        segments.valid_from_at,
        segments.valid_to_at,
        row_number() over (
            partition by
                {% for column in group_columns -%}
                segments.{{ column }},
                {% endfor -%}
                segments.unit_kind, segments.valid_from_at
            order by
                candidates.source_rank asc, candidates.model_rank asc, candidates.tier_rank asc,
                candidates.region_rank asc, candidates.valid_from_at desc, candidates.contract_id asc,
                candidates.allowance_group asc, candidates.allowance_units desc
        ) as candidate_rank
    from segments
    inner join candidates
        on
            {{ same_group('segments', 'candidates') }}
            and segments.unit_kind = candidates.unit_kind
            and {{ holds_at('candidates', 'segments') }}
    where segments.valid_to_at is not null
),

final as (
    select
        {{ content_hash([
            'provider_name', 'source_name', 'contract_id', 'allowance_group', 'unit_kind', 'period_type',
        ]) }} as allowance_key,
        {% for column in group_columns -%}
        {{ column }},
        {% endfor -%}
        unit_kind,
        provider_name,
        source_name,
        contract_id,
        allowance_group,
        period_type,
        evidence,
        allowance_units,
        valid_from_at,
        valid_to_at
    from ranked
    where candidate_rank = 1
)

select * from final
