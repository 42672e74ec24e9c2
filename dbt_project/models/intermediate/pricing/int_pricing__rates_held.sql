with recursive

versions as (
    select * from {{ ref('int_pricing__rate_versions') }}
),

confirmations as (
    select * from {{ ref('seed_rate_confirmations') }}
),

-- Only where the highest price of a rate is that far from its lowest can one of them be far from the one before.
spread_keys as (
    select rate_key
    from versions
    group by rate_key
    having
        max(unit_price) > 0
        and max(unit_price) >= {{ implausible_multiple_of('min(unit_price)') }}
),

-- A price from an instant on is one statement, however often it is repeated.
statements as (
    select
        versions.rate_key,
        versions.valid_from_at,
        versions.unit_price,
        max(versions.source_name) as source_name,
        max(versions.provider_name) as provider_name,
        max(versions.model_id) as model_id,
        max(versions.service_tier) as service_tier,
        max(versions.region_id) as region_id,
        max(versions.unit_kind) as unit_kind,
        max(versions.pricing_currency) as pricing_currency,
        max(versions.evidence) as evidence,
        max(versions.context_over_tokens) as context_over_tokens,
        max(versions.week_minute_from) as week_minute_from,
        max(versions.week_minute_to) as week_minute_to,
        min(versions.known_from_at) as known_from_at,
        max(versions.known_to_at) as known_to_at
    from versions
    inner join spread_keys on versions.rate_key = spread_keys.rate_key
    group by versions.rate_key, versions.valid_from_at, versions.unit_price
),

-- The statement before: of those that were known by then, the one that holds from nearest before.
pairs as (
    select
        later.rate_key,
        later.valid_from_at,
        later.unit_price,
        earlier.valid_from_at as former_valid_from_at,
        earlier.unit_price as former_unit_price,
        row_number() over (
            partition by later.rate_key, later.valid_from_at, later.unit_price
            order by earlier.valid_from_at desc, earlier.known_from_at desc, earlier.unit_price desc
        ) as nearness_rank
    from statements as later
    inner join statements as earlier
        on
            later.rate_key = earlier.rate_key
            and (
                (later.valid_from_at > earlier.valid_from_at and later.known_from_at >= earlier.known_from_at)
                or (later.valid_from_at = earlier.valid_from_at and later.known_from_at > earlier.known_from_at)
            )
),

linked as (
    select
        statements.rate_key,
        statements.valid_from_at,
        statements.unit_price,
        statements.evidence,
        pairs.former_valid_from_at,
        pairs.former_unit_price,
        confirmations.unit_price is not null as is_confirmed
    from statements
    left join pairs
        on
            statements.rate_key = pairs.rate_key
            and statements.valid_from_at = pairs.valid_from_at
            and statements.unit_price = pairs.unit_price
            and pairs.nearness_rank = 1
    left join confirmations
        on
            statements.source_name = confirmations.source_name
            and statements.provider_name = confirmations.provider_name
            and statements.model_id = confirmations.model_id
            and statements.unit_kind = confirmations.unit_kind
            and statements.unit_price = confirmations.unit_price
),

-- Each is compared with the last price that was accepted: a wrong price and its correction leave what held before. A
-- first price has nothing to be compared with, and a price after none (0) no factor.
judged as (
    select
        rate_key,
        valid_from_at,
        unit_price,
        unit_price as accepted_unit_price,
        evidence as accepted_evidence,
        false as is_held
    from linked
    where former_unit_price is null
    union all
    select
        compared.rate_key,
        compared.valid_from_at,
        compared.unit_price,
        case when compared.is_held then compared.former_unit_price else compared.unit_price end as accepted_unit_price,
        case when compared.is_held then compared.former_evidence else compared.evidence end as accepted_evidence,
        compared.is_held
    from (
        select
            linked.rate_key,
            linked.valid_from_at,
            linked.unit_price,
            linked.evidence,
            judged.accepted_unit_price as former_unit_price,
            judged.accepted_evidence as former_evidence,
            not linked.is_confirmed
            and {{ is_implausible_change('judged.accepted_unit_price', 'linked.unit_price') }} as is_held
        from linked
        inner join judged
            on
                linked.rate_key = judged.rate_key
                and linked.former_valid_from_at = judged.valid_from_at
                and linked.former_unit_price = judged.unit_price
    ) as compared
),

final as (
    select
        statements.rate_key,
        statements.source_name,
        statements.provider_name,
        statements.model_id,
        statements.service_tier,
        statements.region_id,
        statements.unit_kind,
        statements.pricing_currency,
        statements.evidence,
        judged.accepted_evidence,
        judged.accepted_unit_price,
        statements.unit_price,
        cast(
            case
                when statements.unit_price > judged.accepted_unit_price
                    then statements.unit_price / judged.accepted_unit_price
                when statements.unit_price > 0
                    then judged.accepted_unit_price / statements.unit_price
            end as decimal(38, 6)
        ) as change_multiplier,
        statements.context_over_tokens,
        statements.week_minute_from,
        statements.week_minute_to,
        statements.known_to_at = {{ end_of_time() }} as is_believed,
        statements.valid_from_at,
        statements.known_from_at,
        statements.known_to_at
    from judged
    inner join statements
        on
            judged.rate_key = statements.rate_key
            and judged.valid_from_at = statements.valid_from_at
            and judged.unit_price = statements.unit_price
    where judged.is_held
)

select * from final
