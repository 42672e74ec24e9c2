select
    cast(null as varchar) as provider_name,
    cast(null as varchar) as billing_account_id,
    cast(null as date) as billing_period_start_date,
    cast(null as varchar) as component_name,
    cast(null as varchar) as cause_type,
    cast(null as varchar) as driver_type,
    cast(null as varchar) as bom_layer_type,
    cast(null as varchar) as tagged_use_case_id,
    cast(null as varchar) as tagged_team_name,
    cast(null as varchar) as commitment_id,
    cast(null as decimal(38, 18)) as charge_usd,
    cast(null as bigint) as line_count
where 1 = 0
