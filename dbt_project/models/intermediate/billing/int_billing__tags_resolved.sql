with

tagged as (
    select distinct tags_json
    from {{ ref('int_billing__lines_delivered') }}
    where tags_json is not null
),

readable as (
    select
        tags_json,
        {{ json_or_null('tags_json') }} as members_json
    from tagged
),

tag_keys as (
    select * from {{ ref('seed_tag_keys') }}
),

tag_values as (
    select
        readable.tags_json,
        tag_keys.dimension_type,
        tag_keys.key_rank,
        nullif({{ json_text_of_member('readable.members_json', 'tag_keys.tag_key') }}, '') as tag_value
    from readable
    cross join tag_keys
),

ranked as (
    select
        *,
        row_number() over (partition by tags_json, dimension_type order by key_rank) as value_rank
    from tag_values
    where tag_value is not null
),

final as (
    select
        tags_json,
        max(case when dimension_type = 'use_case' then tag_value end) as tagged_use_case_id,
        max(case when dimension_type = 'team' then tag_value end) as tagged_team_name
    from ranked
    where value_rank = 1
    group by tags_json
)

select * from final
