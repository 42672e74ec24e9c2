with

charges as (
    select * from {{ ref('stg_focus_files__charges') }}
),

provider_aliases as (
    select * from {{ ref('seed_provider_aliases') }}
),

-- An invoice that is issued again replaces what was delivered for it before.
ranked as (
    select
        charges.*,
        coalesce(provider_aliases.provider_name, lower(charges.provider_name)) as canonical_provider_name,
        dense_rank() over (
            partition by charges.source_name, coalesce(charges.invoice_id, charges.input_uri)
            order by charges.landed_at desc, charges.input_uri desc
        ) as delivery_rank
    from charges
    left join provider_aliases
        on lower(charges.provider_name) = provider_aliases.reported_provider_name
),

final as (
    select
        *,
        case
            when charge_type = 'Usage' and lower(consumed_unit) = 'tokens' then 'calls'
            when charge_type = 'Purchase' then 'commitment'
            else 'other'
        end as driver_type
    from ranked
    where delivery_rank = 1
)

select * from final
