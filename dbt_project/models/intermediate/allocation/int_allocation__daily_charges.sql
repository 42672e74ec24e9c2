with c as (
    select *, cast(null as varchar) as billing_account_id, cast(null as varchar) as environment_name, cast(null as varchar) as customer_id,
    list_cost_usd is not null as is_list_priced
    from {{ ref('fct_calls') }}
), u as (
    select c.event_date, c.source_name, c.provider_name, c.billing_account_id, c.model_id, c.model_name, c.service_tier, c.region_id, c.deployment_id, c.is_spillover, c.use_case_id, c.team_name, c.environment_name, c.customer_id, c.rate_card_key, c.pricing_status_type, c.is_list_priced, h.unit_kind_type, h.quantity_units, h.free_units, h.list_usd_per_unit, h.contracted_usd_per_unit, h.list_cost_usd,
      case when c.pricing_status_type = 'unpriced' then null else h.contracted_cost_usd end as contracted_cost_usd,
      case c.pricing_status_type when 'unpriced' then null else h.contracted_cost_usd end as effective_cost_usd
    from c inner join {{ ref('fct_call_charges') }} as h using (source_name, call_id, event_date)
    union all
    select c.event_date, c.source_name, c.provider_name, c.billing_account_id, c.model_id, c.model_name, c.service_tier, c.region_id, c.deployment_id, c.is_spillover, c.use_case_id, c.team_name, c.environment_name, c.customer_id, c.rate_card_key, c.pricing_status_type, c.is_list_priced, 'request', 1, 0, null, null, 0, 0, c.effective_cost_usd
    from c where pricing_status_type = 'provisioned'
)
select event_date, source_name, provider_name, billing_account_id, model_id, model_name, service_tier, region_id, deployment_id, is_spillover, use_case_id, team_name, environment_name, customer_id, rate_card_key, pricing_status_type, is_list_priced, unit_kind_type, cast(sum(quantity_units) as decimal(28, 3)) as quantity_units,
 cast(sum(free_units) as decimal(28, 3)) as free_units, count(*) as call_count, list_usd_per_unit, contracted_usd_per_unit,
 cast(sum(list_cost_usd) as decimal(38, 15)) as list_cost_usd, cast(sum(contracted_cost_usd) as decimal(38, 15)) as contracted_cost_usd,
 cast(sum(effective_cost_usd) as decimal(38, 15)) as effective_cost_usd
from u group by event_date, source_name, provider_name, billing_account_id, model_id, model_name, service_tier, region_id, deployment_id, is_spillover, use_case_id, team_name, environment_name, customer_id, rate_card_key, pricing_status_type, is_list_priced, unit_kind_type, list_usd_per_unit, contracted_usd_per_unit
