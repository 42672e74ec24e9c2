select
    cast(null as varchar) as provider_name,
    cast(null as varchar) as billing_account_id,
    cast(null as date) as billing_period_start_date,
    cast(null as varchar) as status_type,
    cast(null as decimal(38, 18)) as invoice_usd,
    cast(null as decimal(38, 18)) as ledger_usd,
    cast(null as decimal(38, 18)) as explained_usd,
    cast(null as decimal(38, 18)) as unexplained_usd,
    cast(null as double) as unexplained_share
where 1 = 0
