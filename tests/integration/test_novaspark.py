"""The published tables recover every truth that is planted in the demo company's feeds."""

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from dagster_project.build import build_defs
from dagster_project.demo.truths import DeploymentTruth, InvoiceTruth, ratio
from tests.conftest import CALLS, DAYS, NovaSpark

pytestmark = pytest.mark.integration

MILLION = 1_000_000
TOKEN_KINDS = ("input", "cache_read", "output", "reasoning", "embedding")

# What the generator calls a bad row, where it is rejected and why.
REJECTS = {
    "broken JSON line": ("landing", "json_broken"),
    "time in the year 2999": ("landing", "value_unparsable"),
    "time in the year 2099": ("intermediate", "called_in_the_future"),
    "negative tokens": ("intermediate", "negative_token_count"),
    "cached tokens above input tokens": ("intermediate", "input_parts_exceed_input"),
}


# ---- the run as a whole


def test_run_succeeds_and_builds_every_day_at_once(novaspark: NovaSpark):
    [(first, last)] = novaspark.outcome.ranges
    assert novaspark.outcome.failures == []
    assert novaspark.outcome.is_success
    assert (first.isoformat(), last.isoformat()) == ("2026-07-01", "2026-07-21")
    assert (last - first).days + 1 == DAYS


def test_every_declared_gate_was_judged_passed_and_is_published(novaspark: NovaSpark):
    graph = build_defs(settings=novaspark.settings).resolve_asset_graph()
    declared = {key.name for key in graph.asset_check_keys}
    results = novaspark.rows(
        "select gate_name, is_passed, evaluated_count, violation_count, severity from ops.gate_results"
    )
    assert {name for name, *_ in results} == declared
    assert {name for name, is_passed, *_ in results if not is_passed} == set()
    assert all(evaluated > 0 for _, _, evaluated, *_ in results)
    assert {name for name, _, _, violations, severity in results if violations and severity == "block"} == set()
    assert novaspark.outcome.failed_checks == []
    assert novaspark.outcome.passed_count == len(declared)


def test_publication_has_a_row_per_published_relation(novaspark: NovaSpark):
    published = novaspark.rows("select schema_name, table_name, row_count, as_of from ops.publication")
    relations = novaspark.rows(
        "select table_schema, table_name from information_schema.tables where table_schema in ('marts', 'analytics')"
    )
    assert {row[:2] for row in published} == set(relations)
    assert {row[3].isoformat() for row in published} == {"2026-07-22T00:00:00+00:00"}
    assert {name: count for _, name, count, _ in published}["fct_calls"] == CALLS


# ---- usage


def test_every_call_is_published_once_under_its_source_and_team(novaspark: NovaSpark):
    assert dict(novaspark.rows("select source_name, count(*) from marts.fct_calls group by all")) == (
        novaspark.truths.good_calls_by_source
    )
    assert dict(novaspark.rows("select team_name, count(*) from marts.fct_calls group by all")) == (
        novaspark.truths.good_calls_by_team
    )
    assert novaspark.rows("select count(*), count(distinct (source_name, call_id)) from marts.fct_calls") == [
        (CALLS, CALLS)
    ]


def test_tokens_of_every_team_and_kind_are_the_planted_ones(novaspark: NovaSpark):
    sums = ", ".join(f"sum({kind}_tokens)" for kind in TOKEN_KINDS)
    found = {
        team: counts
        for team, *counts in novaspark.rows(f"select team_name, {sums} from marts.fct_calls group by team_name")
    }
    assert found == {
        team: [getattr(totals, f"{kind}_tokens") for kind in TOKEN_KINDS]
        for team, totals in novaspark.truths.totals_by_team.items()
    }


def test_late_calls_lie_on_the_day_on_which_they_were_made(novaspark: NovaSpark):
    assert novaspark.truths.late
    for late in novaspark.truths.late:
        calls = novaspark.warehouse_rows(
            """
            select calls.call_id, calls.event_date
            from intermediate.int_usage__calls_reported as reported
            inner join marts.fct_calls as calls using (source_name, call_id)
            where reported.source_name = $source and reported.input_uri like $file
            """,
            {"source": late.source_name, "file": f"%/{late.file}"},
        )
        assert len(calls) == late.call_count
        assert {day for _, day in calls} == {late.day}


def test_calls_delivered_twice_count_once_and_the_second_delivery_is_kept(novaspark: NovaSpark):
    repeated = dict(
        novaspark.warehouse_rows(
            """
            select (source_name, event_date), count(*)
            from intermediate.int_usage__calls_rejected
            where reject_reason = 'delivered_again'
            group by all
            """
        )
    )
    assert repeated == {(item.source_name, item.day): item.call_count for item in novaspark.truths.duplicates}


def test_every_bad_row_is_rejected_at_its_border_with_its_reason(novaspark: NovaSpark):
    landing = novaspark.warehouse_rows(
        """
        select source_name, 'landing', reason_code from raw.raw_otlp_files__spans_rejected
        union all
        select source_name, 'landing', reason_code from raw.raw_table_files__calls_rejected
        """
    )
    later = novaspark.warehouse_rows(
        """
        select source_name, 'intermediate', reject_reason
        from intermediate.int_usage__calls_rejected
        where reject_reason <> 'delivered_again'
        """
    )
    assert Counter([*landing, *later]) == {
        (reject.source_name, *REJECTS[reject.reason]): reject.row_count for reject in novaspark.truths.rejects
    }


def test_unknown_model_is_unpriced_with_its_tokens_and_not_rejected(novaspark: NovaSpark):
    truth = novaspark.truths.unknown_model
    [row] = novaspark.rows(
        """
        select count(*), count(distinct use_case_instance_id), sum(input_tokens), sum(cache_read_tokens),
            sum(output_tokens), count(list_cost_usd), count(effective_cost_usd), min(pricing_status_type),
            max(pricing_status_type), min(unpriced_reason_type), max(unpriced_reason_type)
        from marts.fct_calls where model_name = $model
        """,
        {"model": truth.model_name},
    )
    assert row == (
        truth.call_count, truth.instance_count, truth.input_tokens, truth.cache_read_tokens, truth.output_tokens,
        0, 0, "unpriced", "unpriced", "unknown_model", "unknown_model",
    )  # fmt: skip
    assert novaspark.rows("select sum(unpriced_call_count) from marts.rpt_daily_spend") == [(truth.call_count,)]


# ---- prices


def _cost_of_days(novaspark: NovaSpark, days: list[Any]) -> tuple[Decimal, int]:
    [row] = novaspark.rows(
        """
        select sum(list_cost_usd), sum(call_count) from marts.rpt_daily_spend
        where use_case_id = $use_case and event_date in (select unnest($days))
        """,
        {"use_case": novaspark.truths.prompt_day.use_case_id, "days": days},
    )
    return row[0], row[1]


def test_the_tuesday_cost_three_times_its_neighbours(novaspark: NovaSpark):
    truth = novaspark.truths.prompt_day
    cost, calls = _cost_of_days(novaspark, [truth.day])
    near_cost, near_calls = _cost_of_days(novaspark, list(truth.neighbour_days))
    assert truth.day.strftime("%A") == "Tuesday"
    assert (cost, calls) == (truth.cost_usd, truth.call_count)
    assert (near_cost, near_calls) == (truth.neighbour_cost_usd, truth.neighbour_call_count)
    assert ratio(cost * 2, near_cost) == truth.cost_ratio
    assert round(truth.cost_ratio, 2) == 3


def test_price_change_holds_from_its_day_on_for_every_tier_and_kind(novaspark: NovaSpark):
    assert novaspark.truths.price_changes
    for change in novaspark.truths.price_changes:
        cards = novaspark.rows(
            f"""
            select list_usd_per_unit * {MILLION}
            from marts.dim_rate_cards
            where model_id = $model and service_tier = $tier and unit_kind_type = $kind
                and (valid_to_at = $changed_on or valid_from_at = $changed_on)
            order by valid_from_at
            """,
            {
                "model": change.model_name,
                "tier": change.service_tier,
                "kind": change.unit_kind,
                "changed_on": f"{change.changed_on}T00:00:00Z",
            },
        )
        assert cards == [(change.before_usd_per_million,), (change.after_usd_per_million,)]


def test_charges_are_priced_at_what_held_on_their_day(novaspark: NovaSpark):
    changes = {(item.service_tier, item.unit_kind): item for item in novaspark.truths.price_changes}
    charges = novaspark.rows(
        """
        select distinct calls.service_tier, charges.unit_kind_type, charges.list_usd_per_unit * 1000000,
            charges.event_date >= $changed_on
        from marts.fct_call_charges as charges
        inner join marts.fct_calls as calls using (source_name, call_id)
        where calls.model_name = $model
        """,
        {
            "model": novaspark.truths.price_changes[0].model_name,
            "changed_on": novaspark.truths.price_changes[0].changed_on,
        },
    )
    assert {(tier, kind) for tier, kind, _, _ in charges} <= set(changes)
    assert {(tier, is_after) for tier, _, _, is_after in charges} >= {("batch", False), ("batch", True)}
    for tier, kind, price, is_after in charges:
        change = changes[tier, kind]
        assert price == (change.after_usd_per_million if is_after else change.before_usd_per_million)


def test_discount_lowers_every_unit_price_of_the_provider_from_its_day_on(novaspark: NovaSpark):
    discount = novaspark.truths.discount
    charges = novaspark.rows(
        """
        select event_date >= $valid_from, contract_id, contracted_usd_per_unit / list_usd_per_unit, count(*)
        from marts.fct_call_charges as charges
        inner join marts.fct_calls as calls using (source_name, call_id, event_date)
        where calls.provider_name = $provider
        group by all
        """,
        {"valid_from": discount.valid_from, "provider": discount.provider_name},
    )
    shares = {(is_after, contract, round(Decimal(share), 9)) for is_after, contract, share, _ in charges}
    assert shares == {
        (False, None, Decimal(1)),
        (True, discount.contract_id, 1 - discount.discount_share),
    }


# ---- use cases


def test_every_use_case_has_its_instances(novaspark: NovaSpark):
    assert (
        dict(novaspark.rows("select use_case_id, instance_count from marts.rpt_use_case_leaderboard"))
        == novaspark.truths.instances_by_use_case
    )


def test_runaway_loop_is_the_instance_with_the_most_calls(novaspark: NovaSpark):
    truth = novaspark.truths.runaway_loop
    top, second = novaspark.rows(
        """
        select use_case_id, use_case_instance_id, call_count, started_date, started_at, last_called_at
        from marts.fct_use_case_instances order by call_count desc limit 2
        """
    )
    assert top == (
        truth.use_case_id, truth.use_case_instance_id, truth.call_count, truth.day, truth.first_call_at,
        truth.last_call_at,
    )  # fmt: skip
    assert second[2] < truth.call_count
    assert novaspark.rows(
        "select count(*) from marts.fct_calls where is_spillover and use_case_instance_id = $instance",
        {"instance": truth.use_case_instance_id},
    ) == [(truth.spillover_call_count,)]


def test_experiment_arms_have_their_counts_and_their_lift(novaspark: NovaSpark):
    truth = novaspark.truths.experiment
    arms = {
        version: counts
        for version, *counts in novaspark.rows(
            """
            select use_case_version, sum(instance_count), sum(judged_instance_count), sum(success_count)
            from marts.rpt_use_case_unit_economics where use_case_id = $use_case group by all
            """,
            {"use_case": truth.use_case_id},
        )
    }
    assert arms == {
        arm.use_case_version: [arm.instance_count, arm.outcome_count, arm.success_count]
        for arm in (truth.control, truth.treatment)
    }
    shares = {version: ratio(success, judged) for version, (_, judged, success) in arms.items()}
    assert shares[truth.treatment.use_case_version] - shares[truth.control.use_case_version] == truth.observed_lift


def test_every_kpi_has_its_scores(novaspark: NovaSpark):
    scores = novaspark.rows("select use_case_id || '/' || kpi_name, count(*) from marts.fct_kpi_scores group by all")
    assert dict(scores) == novaspark.truths.kpi_rows_by_kpi


# ---- capacity


def _deployment_hours(novaspark: NovaSpark, truth: DeploymentTruth) -> list[tuple[Any, ...]]:
    return novaspark.rows(
        """
        select hour_at, used_tokens, capacity_tokens, spillover_tokens, spillover_call_count,
            call_count, units_count, utilization_share
        from marts.fct_capacity_hours where deployment_id = $deployment order by hour_at
        """,
        {"deployment": truth.deployment_id},
    )


def test_deployments_are_used_as_planted_in_every_hour_and_on_the_whole(novaspark: NovaSpark):
    for truth in novaspark.truths.deployments:
        hours = _deployment_hours(novaspark, truth)
        assert len(hours) == 24 * DAYS
        assert {(row[2], row[6]) for row in hours} == {(truth.capacity_tokens_per_hour, truth.allocated_units)}
        assert sum(row[1] for row in hours) == truth.used_tokens
        assert ratio(truth.used_tokens, truth.capacity_tokens_per_hour * len(hours)) == truth.mean_share
        best = max(hours, key=lambda row: row[1])
        assert (best[0], ratio(best[1], best[2])) == (truth.best_hour_at, truth.best_hour_share)


def test_drafting_deployment_reaches_fifteen_percent_at_its_best_hour(novaspark: NovaSpark):
    assert novaspark.rows(
        """
        select max(max_utilization_share) from marts.rpt_capacity_utilization
        where deployment_id = 'ptu-drafting-gpt-41'
        """
    ) == [(pytest.approx(0.15, abs=1e-6),)]


def test_calls_past_capacity_spill_over_and_are_priced_on_demand(novaspark: NovaSpark):
    for truth in novaspark.truths.deployments:
        hours = _deployment_hours(novaspark, truth)
        assert sum(row[4] for row in hours) == truth.spillover_call_count
        assert sum(row[3] for row in hours) == truth.spillover_tokens
    assert novaspark.rows(
        "select pricing_status_type, count(*) from marts.fct_calls where is_spillover group by all"
    ) == [("priced", novaspark.truths.spillover_call_count)]


def test_commitments_cost_what_was_bought_and_show_the_units_that_nobody_uses(novaspark: NovaSpark):
    for truth in novaspark.truths.commitments:
        [(cost, unallocated_units, unallocated_cost, overage_cost)] = novaspark.rows(
            """
            select sum(cost_usd), max(units_count) filter (where allocation_type = 'unallocated'),
                sum(unallocated_cost_usd), sum(overage_cost_usd)
            from marts.fct_capacity_hours where commitment_id = $commitment
            """,
            {"commitment": truth.commitment_id},
        )
        assert cost == truth.period_cost_usd
        assert (unallocated_units or 0) == truth.unallocated_units
        assert unallocated_cost == truth.unallocated_units * truth.usd_per_unit_hour * 24 * DAYS
        assert overage_cost == truth.period_overage_cost_usd


def test_reservation_of_25_units_with_30_deployed_costs_five_units_of_overage(novaspark: NovaSpark):
    # 25 x 0.356164384 reserved and 5 x 1.00 beyond it are 13.9041096 USD an hour, all of it idle.
    assert novaspark.rows(
        """
        select allocation_id, count(*), min(units_count), min(cost_usd), min(overage_cost_usd), min(idle_cost_usd)
        from marts.fct_capacity_hours where commitment_id = 'azure-ptu-pilot-2026' group by all
        """
    ) == [("ptu-pilot-gpt-41-mini", 24 * DAYS, 30, Decimal("13.9041096"), 5, Decimal("13.9041096"))]


def test_telemetry_finds_the_gpu_instances_forty_percent_busy(novaspark: NovaSpark):
    # 25, 35, 45 and 55 % are 40 % on average, of 4 x 53.698630137 = 214.794520548 USD an hour 85.917808219. In hours in
    # which the ledger has a call it is the calls' cost, in the others it stays idle and is named.
    rows = novaspark.rows(
        """
        select used_tokens > 0, min(measurement_count), max(measured_utilization_share), min(used_cost_usd),
            max(used_cost_usd), min(unattributed_cost_usd), max(unattributed_cost_usd), min(cost_usd - idle_cost_usd)
        from marts.fct_capacity_hours where deployment_id = 'gpu-llama-eval' group by all order by all desc
        """
    )
    busy = Decimal("85.917808219")
    with_calls, *without_calls = rows
    assert with_calls == (True, 8, 0.4, busy, busy, 0, 0, busy)
    assert without_calls in ([], [(False, 8, 0.4, 0, 0, busy, busy, 0)])


def test_pool_that_is_all_but_idle_should_not_be_bought(novaspark: NovaSpark):
    rows = {
        row[0]: row[1:]
        for row in novaspark.rows(
            """
            select scope_id, current_units, recommended_units, break_even_utilization_share, on_demand_usd_per_day,
                current_usd_per_day, unavailable_reason
            from analytics.capacity_recommendations
            """
        )
    }
    # No hour of the drafting deployment spills over, so its work on demand is the list price of its calls.
    [(list_cost,)] = novaspark.rows(
        """
        select sum(list_cost_usd) from marts.fct_calls
        where deployment_id = 'ptu-drafting-gpt-41'
            and event_date > (select max(event_date) - 28 from marts.fct_capacity_minutes)
        """
    )
    units, recommended, break_even, on_demand, current, reason = rows["ptu-drafting-gpt-41"]
    assert (units, recommended, reason) == (50, 0, None)
    assert on_demand == pytest.approx(list_cost / min(DAYS, 28), rel=Decimal("1e-9"))
    # 50 PTU at 0.356164384 an hour, and what its busiest minutes spill over.
    [(capacity, spillover)] = novaspark.rows(
        """
        select capacity_usd_per_day, spillover_usd_per_day
        from analytics.capacity_cost_curves where deployment_id = 'ptu-drafting-gpt-41' and is_current
        """
    )
    assert capacity == round(50 * 24 * Decimal("0.356164384"), 9)
    assert current == pytest.approx(capacity + spillover, abs=Decimal("2e-9"))
    # At 2.00 USD per million a PTU's 180,000 tokens an hour are worth 0.36.
    assert 0.8 < break_even < 0.356164384 / 0.36
    # The pool pays for its 350 units that no deployment holds as well.
    assert rows["azure-ptu-pool-2026"][:2] == (500, 0)
    assert rows["azure-ptu-pool-2026"][4] > current + round(350 * 24 * Decimal("0.356164384"), 9)
    assert rows["gpu-llama-eval"][5] == "no_on_demand_price"


def test_reserved_instances_cost_many_times_the_same_weights_by_the_token(novaspark: NovaSpark):
    found = novaspark.rows(
        """
        select candidate_id, cost_usd_per_day < 0.1 * current_usd_per_day, unavailable_reason
        from analytics.deployment_alternatives where use_case_id = 'model_evaluation' and candidate_type = 'hosted'
        """
    )
    assert found == [("together-llama", True, None)]
    assert novaspark.rows("select count(*) from analytics.deployment_alternatives") == [(8,)]


# ---- invoices


def _steps(novaspark: NovaSpark, invoice: InvoiceTruth) -> dict[tuple[str, str | None], tuple[Decimal, Decimal, int]]:
    """What calls cost, what is billed and how many lines say so, by component and cause; what is matched has none."""
    rows = novaspark.rows(
        """
        select component_name, cause_type, sum(compared_cost_usd), sum(billed_cost_usd), sum(line_count)
        from marts.rpt_reconciliation
        where layer_type = 'calls_to_bill' and provider_name = $provider and billing_period_start_date = $month
        group by all
        """,
        {"provider": invoice.provider_name, "month": invoice.period_month},
    )
    return {row[:2]: row[2:] for row in rows}


def test_every_invoice_adds_up_to_the_cent(novaspark: NovaSpark):
    totals = dict(
        novaspark.rows(
            "select invoice_id, sum(billed_cost_usd) from marts.fct_invoice_lines where is_bill group by all"
        )
    )
    assert totals == {invoice.invoice_id: invoice.total_usd for invoice in novaspark.truths.invoices}
    for invoice in novaspark.truths.invoices:
        assert sum(step[1] for step in _steps(novaspark, invoice).values()) == invoice.total_usd


def test_every_month_closes_to_the_cent_with_nothing_unexplained(novaspark: NovaSpark):
    for invoice in novaspark.truths.invoices:
        [(effective,)] = novaspark.rows(
            """
            select coalesce(sum(effective_cost_usd), 0) from marts.fct_calls
            where provider_name = $provider and date_trunc('month', event_date) = $month
            """,
            {"provider": invoice.provider_name, "month": invoice.period_month},
        )
        [(charges,)] = novaspark.rows(
            """
            select sum(charge_usd) from marts.fct_period_charges
            where provider_name = $provider and billing_period_start_date = $month
            """,
            {"provider": invoice.provider_name, "month": invoice.period_month},
        )
        assert effective + charges == invoice.total_usd
        assert novaspark.rows(
            """
            select invoice_usd, ledger_usd, explained_usd, unexplained_usd, unexplained_share
            from marts.rpt_billing_periods
            where provider_name = $provider and billing_period_start_date = $month
            """,
            {"provider": invoice.provider_name, "month": invoice.period_month},
        ) == [(invoice.total_usd, effective, charges, Decimal(0), 0.0)]


def test_call_lines_differ_from_the_ledger_by_their_rounding_alone(novaspark: NovaSpark):
    for invoice in novaspark.truths.invoices:
        if not invoice.call_line_count:
            continue
        steps = {cause: step for (name, cause), step in _steps(novaspark, invoice).items() if name == "calls"}
        assert set(steps) == {None, "rounding"}
        assert steps[None] == (invoice.contracted_cost_usd, invoice.contracted_cost_usd, invoice.call_line_count)
        assert steps["rounding"][1] == invoice.call_lines_usd - invoice.contracted_cost_usd
        assert abs(steps["rounding"][1]) <= invoice.call_line_count * Decimal("0.005")


def test_each_call_line_is_matched_with_its_own_model_tier_and_kind(novaspark: NovaSpark):
    """A line is rounded by half a cent at most, and the units of every key agree with the bill's."""
    [(keys, coarse, worst)] = novaspark.rows(
        """
        select count(*), count(*) filter (where model_id is null or service_tier is null or unit_kind_type is null),
            max(abs(difference_usd) / greatest(lines, 1))
        from (
            select *, sum(line_count) over (
                partition by provider_name, billing_period_start_date, model_id, service_tier, unit_kind_type
            ) as lines
            from marts.rpt_reconciliation
            where layer_type = 'calls_to_bill' and component_name = 'calls'
        )
        """
    )
    assert keys > 0
    assert (coarse, worst <= 0.005) == (0, True)


def test_bought_capacity_is_used_idle_or_unallocated_on_the_bill(novaspark: NovaSpark):
    for invoice in novaspark.truths.invoices:
        bought = [item for item in novaspark.truths.commitments if item.provider_name == invoice.provider_name]
        if not bought:
            continue
        steps = {cause: step for (name, cause), step in _steps(novaspark, invoice).items() if name == "commitment"}
        billed = sum(line.amount_usd for line in invoice.purchase_lines)
        assert sum(step[1] for step in steps.values()) == billed
        assert set(steps) <= {None, "idle_capacity", "unallocated_capacity", "rounding"}
        rounding = steps.get("rounding", (0, Decimal(0), 0))[1]
        assert abs(rounding) <= len(invoice.purchase_lines) * Decimal("0.005")


def test_whatever_no_call_explains_is_a_charge_under_its_own_name(novaspark: NovaSpark):
    causes = {"Tax": "tax", "Credit": "credit"}
    for invoice in novaspark.truths.invoices:
        others = {
            (name, cause): step[1]
            for (name, cause), step in _steps(novaspark, invoice).items()
            if name not in {"calls", "commitment"}
        }
        planted = novaspark.truths.invoice_difference.line_name
        assert others == {
            (
                line.description,
                "workbench_use" if line.description == planted else causes.get(line.charge_category, "other_service"),
            ): line.amount_usd
            for line in invoice.other_lines
        }


def test_planted_invoice_difference_is_named_by_its_cause(novaspark: NovaSpark):
    truth = novaspark.truths.invoice_difference
    assert novaspark.rows(
        """
        select provider_name, billing_period_start_date, component_name, charge_usd from marts.fct_period_charges
        where cause_type = 'workbench_use'
        """
    ) == [(truth.provider_name, truth.period_month, truth.line_name, truth.amount_usd)]


def test_months_that_have_ended_are_final_and_the_running_one_is_open(novaspark: NovaSpark):
    [(as_of,)] = novaspark.rows("select distinct cast(as_of as date) from ops.publication")
    for invoice in novaspark.truths.invoices:
        month_end = (invoice.period_month + timedelta(days=32)).replace(day=1)
        [(status, reason)] = novaspark.rows(
            """
            select status_type, not_final_reason_type from marts.rpt_billing_periods
            where provider_name = $provider and billing_period_start_date = $month
            """,
            {"provider": invoice.provider_name, "month": invoice.period_month},
        )
        expected = ("final", None) if month_end + timedelta(days=3) <= as_of else ("open", "period_not_ended")
        assert (status, reason) == expected


def test_unpriced_calls_of_a_period_are_counted_beside_its_figures(novaspark: NovaSpark):
    [(unpriced,)] = novaspark.rows("select count(*) from marts.fct_calls where pricing_status_type = 'unpriced'")
    assert unpriced > 0
    assert novaspark.rows("select sum(unpriced_call_count) from marts.rpt_billing_periods") == [(unpriced,)]


def test_lines_of_a_bill_have_their_layer_and_their_tags(novaspark: NovaSpark):
    found = novaspark.rows(
        """
        select provider_name, component_name, bom_layer_type, tagged_use_case_id, tagged_team_name
        from marts.fct_invoice_lines where is_bill and driver_type not in ('calls', 'commitment')
        """
    )
    assert sorted(found, key=str) == sorted(
        (
            (
                invoice.provider_name,
                line.description,
                line.bom_layer_type,
                line.tagged_use_case_id,
                line.tagged_team_name,
            )
            for invoice in novaspark.truths.invoices
            for line in invoice.other_lines
        ),
        key=str,
    )


def test_call_lines_of_a_bill_say_model_tier_and_kind(novaspark: NovaSpark):
    rows = novaspark.rows(
        """
        select sku_id, model_name, model_id is null, service_tier, unit_kind_type, bom_layer_type
        from marts.fct_invoice_lines where is_bill and driver_type = 'calls'
        """
    )
    assert rows
    for sku_id, model_name, is_unresolved, service_tier, unit_kind, layer in rows:
        model, tier, metered = sku_id.rsplit("/", 2)
        is_embedding = model == "text-embedding-3-small"
        kind, expected_layer = ("embedding", "embeddings") if is_embedding else (metered, "model_calls")
        assert (model_name, is_unresolved, service_tier, unit_kind, layer) == (model, False, tier, kind, expected_layer)


def test_invoice_in_euros_counts_at_the_rate_of_its_month_and_equals_its_stated_total(novaspark: NovaSpark):
    # 480.00 + 1,250.00 EUR in July, at 1.08: 1,868.40 USD.
    assert novaspark.rows(
        """
        select invoice_id, sum(billed_cost_in_billing_currency), max(usd_per_currency_unit), sum(billed_cost_usd)
        from marts.fct_invoice_lines
        where billing_currency_code = 'EUR' and billing_period_start_date = date '2026-07-01' group by all
        """
    ) == [("ag-novaspark-202607", Decimal("1730.00"), Decimal("1.08"), Decimal("1868.40"))]
    assert novaspark.warehouse_rows(
        """
        select invoice_id, unreconciled_reason_type from intermediate.int_billing__invoice_totals
        where unreconciled_reason_type is null or unreconciled_reason_type <> 'no_total'
        """
    ) == [("ag-novaspark-202607", None)]


def test_every_record_of_usage_agrees_with_the_others_but_for_the_workbench(novaspark: NovaSpark):
    """Calls, usage report, cost report and bill: nothing is unexplained, and the workbench is all that calls lack."""
    assert novaspark.rows("select * from marts.rpt_reconciliation where status_type = 'unexplained'") == []
    workbench = novaspark.truths.workbench
    units = """
        select unit_kind_type, cast(quantity_units as bigint) from marts.rpt_reconciliation
        where layer_type = $layer and status_type = 'explained' order by 1
    """
    planted = sorted(workbench.units_by_kind.items())
    assert novaspark.rows(units, {"layer": "calls_to_usage_report"}) == planted
    # The invoice bills them under a line of its own, in money.
    assert novaspark.rows(units, {"layer": "usage_report_to_bill"}) == [(kind, -count) for kind, count in planted]
    assert novaspark.rows(
        """
        select driver_type, difference_usd from marts.rpt_reconciliation
        where layer_type = 'cost_report_to_invoice' and cause_type = 'workbench_use' order by 1
        """
    ) == [("calls", -workbench.amount_usd), ("other", workbench.amount_usd)]


def test_every_day_agrees_with_the_providers_reports_but_for_what_is_planted(novaspark: NovaSpark):
    """Calls, usage report and cost report, by day: use by hand, calls before midnight, storage; to the last digit."""
    found = novaspark.rows(
        """
        select layer_type, cause_type, event_date, unit_kind_type, sum(cast(quantity_units as bigint)),
            sum(difference_usd)
        from marts.rpt_daily_reconciliation where cause_type is not null group by all
        """
    )
    workbench, late = novaspark.truths.workbench, novaspark.truths.late_usage
    units = {row[1:4]: row[4] for row in found if row[0] == "calls_to_usage_report"}
    assert units == {
        **{("workbench_use", workbench.day, kind): count for kind, count in workbench.units_by_kind.items()},
        **{("late_usage", late.day, kind): -count for kind, count in late.units_by_kind.items() if count},
        **{("late_usage", late.reported_day, kind): count for kind, count in late.units_by_kind.items() if count},
    }
    assert sum(row[5] for row in found if row[1] == "workbench_use") == workbench.amount_usd
    of_costs = [row[1:] for row in found if row[0] == "usage_report_to_cost_report"]
    assert of_costs == [("other_service", date(2026, 7, 1), None, None, Decimal("96.30"))]


# ---- providers' reports


def test_usage_reports_are_the_planted_units_by_model_tier_and_kind(novaspark: NovaSpark):
    for report in novaspark.truths.reports:
        found = novaspark.rows(
            """
            select model_id || '/' || coalesce(service_tier, 'standard') || '/' || unit_kind_type, sum(quantity_units)
            from marts.fct_provider_usage
            where provider_name = $provider and billing_account_id = $account
                and date_trunc('month', event_date) = $month
            group by all
            """,
            {
                "provider": report.provider_name,
                "account": report.billing_account_id,
                "month": report.period_month,
            },
        )
        assert dict(found) == report.units_by_meter


def test_reports_and_calls_differ_by_the_workbench_and_by_what_was_late(novaspark: NovaSpark):
    late, workbench = novaspark.truths.late_usage, novaspark.truths.workbench
    differences = novaspark.rows(
        """
        with reported as (
            select event_date, model_id, coalesce(service_tier, 'standard') as tier, unit_kind_type,
                sum(quantity_units) as units
            from marts.fct_provider_usage where unit_kind_type <> 'embedding' group by all
        ),
        wide as (
            select event_date, model_id, service_tier as tier, sum(input_tokens) as input,
                sum(cache_read_tokens) as cache_read, sum(output_tokens + reasoning_tokens) as output
            from marts.fct_calls where provider_name = 'openai' and embedding_tokens = 0 group by all
        ),
        called as (unpivot wide on input, cache_read, output into name unit_kind_type value units)
        select event_date, unit_kind_type, cast(coalesce(reported.units, 0) - coalesce(called.units, 0) as bigint)
        from reported full join called using (event_date, model_id, tier, unit_kind_type)
        where coalesce(reported.units, 0) <> coalesce(called.units, 0)
        """
    )
    expected: Counter[tuple[Any, str]] = Counter()
    for kind, units in late.units_by_kind.items():
        expected[late.day, kind] -= units
        expected[late.reported_day, kind] += units
    for kind, units in workbench.units_by_kind.items():
        expected[workbench.day, kind] += units
    assert {(day, kind): units for day, kind, units in differences} == {
        place: units for place, units in expected.items() if units
    }
    assert novaspark.rows(
        "select event_date, unit_kind_type, quantity_units from marts.fct_provider_usage where is_workbench order by 2"
    ) == [(workbench.day, kind, units) for kind, units in sorted(workbench.units_by_kind.items())]


def test_cost_reports_are_evidence_beside_the_invoices_and_add_nothing_to_them(novaspark: NovaSpark):
    found = novaspark.rows(
        """
        select billing_period_start_date, sum(billed_cost_usd), bool_or(is_bill), bool_and(model_id is not null)
        from marts.fct_invoice_lines where document_type = 'cost_report' and driver_type = 'calls' group by all
        """
    )
    # Storage is in the cost report too, and no line of a call.
    storage = Decimal("96.30")
    assert sorted(found) == sorted(
        (report.period_month, report.cost_usd - storage, False, True) for report in novaspark.truths.reports
    )


# ---- allocation, showback and statements


def _allocated(novaspark: NovaSpark, condition: str) -> dict[tuple[str | None, ...], Decimal]:
    rows = novaspark.rows(f"""
        select use_case_id, team_name, sum(allocated_cost_usd) from marts.fct_cost_allocations
        where period_month_date = date '2026-07-01' and {condition} group by all
    """)
    return {(use_case, team): cost for use_case, team, cost in rows}


def _parted(amount: Decimal, weights: dict[Any, int]) -> dict[Any, Decimal]:
    """Part an amount by the largest remainder, in units of 1e-9 USD, equal ones in the order of their names."""
    quanta, total = int(amount * 10**9), sum(weights.values())
    parts = {key: quanta * weight // total for key, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda key: (-(quanta * weights[key] % total), key))
    for key in by_remainder[: quanta - sum(parts.values())]:
        parts[key] += 1
    return {key: Decimal(part) / 10**9 for key, part in parts.items()}


def test_allocations_of_every_invoice_are_its_total(novaspark: NovaSpark):
    found = novaspark.rows("""
        select provider_name, billing_account_id, billing_period_start_date, sum(allocated_cost_usd)
        from marts.fct_cost_allocations where provider_name in ('azure', 'openai', 'self_hosted', 'together')
        group by all
    """)
    expected = {
        (invoice.provider_name, invoice.billing_account_id, invoice.period_month): invoice.total_usd
        for invoice in novaspark.truths.invoices
        if invoice.provider_name in {"azure", "openai", "self_hosted", "together"}
    }
    assert {key: cost for *key_parts, cost in found for key in [tuple(key_parts)]} == expected


def test_lines_without_a_call_reach_their_use_cases_by_the_declared_rules(novaspark: NovaSpark):
    review, drafting = ("contract_review_agent", "automation_agents"), ("document_drafting", "automation_agents")
    # 100.00 evenly over two; 264.91 x 0.7 and x 0.3; what a tag names; people whom nobody invoices.
    assert _allocated(novaspark, "component_name = 'Standard support plan'") == {review: 50, drafting: 50}
    assert _allocated(novaspark, "component_name = 'Log analytics ingestion'") == {
        review: Decimal("185.437"),
        drafting: Decimal("79.473"),
    }
    assert _allocated(novaspark, "component_name = 'Vector store, search units'") == {drafting: Decimal("1471.20")}
    assert _allocated(novaspark, "component_name = 'review_of_drafts'") == {drafting: 1850}
    # 600.00 over seven is 85.714285714 with two units of 1e-9 left, for the first two names.
    seats = {
        use_case: cost for (use_case, _), cost in _allocated(novaspark, "component_name = 'gateway_seats'").items()
    }
    assert len(seats) == 7
    assert {use_case for use_case, cost in seats.items() if cost == Decimal("85.714285715")} == {
        "contract_review_agent",
        "document_drafting",
    }
    assert sum(seats.values()) == 600


def test_a_charge_by_driver_follows_the_calls_down_to_the_customer(novaspark: NovaSpark):
    [(amount,)] = novaspark.rows("""
        select sum(charge_usd) from marts.fct_period_charges
        where component_name = 'Guardrail checks' and billing_period_start_date = date '2026-07-01'
    """)
    calls = novaspark.rows("""
        select use_case_id, coalesce(environment_name, '~'), coalesce(customer_id, '~'), count(*) from marts.fct_calls
        where use_case_id is not null and event_date between date '2026-07-01' and date '2026-07-31' group by all
    """)
    found = novaspark.rows("""
        select use_case_id, coalesce(environment_name, '~'), coalesce(customer_id, '~'), allocated_cost_usd
        from marts.fct_cost_allocations
        where component_name = 'Guardrail checks' and billing_period_start_date = date '2026-07-01'
    """)
    assert len({customer for _, _, customer, _ in found}) > 2
    assert {tuple(key): cost for *key, cost in found} == _parted(amount, {tuple(key): count for *key, count in calls})


def test_idle_capacity_is_paid_by_who_uses_it_and_the_unallocated_by_who_ordered_it(novaspark: NovaSpark):
    [(gpu_idle,), (unallocated,)] = (
        novaspark.rows(f"select sum({column}) from marts.fct_capacity_hours where commitment_id = '{commitment}'")[0]
        for column, commitment in (
            ("idle_cost_usd", "gpu-reserved-2026"),
            ("unallocated_cost_usd", "azure-ptu-pool-2026"),
        )
    )
    idle = _allocated(novaspark, "layer_type = 'idle_capacity' and provider_name = 'self_hosted'")
    assert idle == {("model_evaluation", "ml_research"): gpu_idle}
    assert _allocated(novaspark, "layer_type = 'unallocated_capacity'") == {(None, "automation_agents"): unallocated}


def test_what_no_rule_covers_is_named_and_not_lost(novaspark: NovaSpark):
    planted = novaspark.truths.invoice_difference
    found = novaspark.rows("""
        select component_name, unallocated_reason_type, allocated_cost_usd, use_case_id
        from marts.fct_cost_allocations where unallocated_reason_type = 'no_rule'
    """)
    assert (planted.line_name, "no_rule", planted.amount_usd, None) in found


def test_showback_of_customers_and_environments_is_what_their_calls_cost(novaspark: NovaSpark):
    for column in ("customer_id", "environment_name", "team_name"):
        calls = f"select {column}, sum(effective_cost_usd) from marts.fct_calls group by all"
        shown = f"select {column}, sum(direct_cost_usd) from marts.rpt_showback group by all"
        costs = {key: cost for key, cost in novaspark.rows(shown) if cost}
        assert costs == {key: cost for key, cost in novaspark.rows(calls) if cost}
        assert len(costs) > 1
