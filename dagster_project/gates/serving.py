"""The border from marts to serving: what a candidate file must satisfy before readers get it.

Suites over the published tables by the names that readers use. Conservation and reconciliation across stages
are SQL gates of the warehouse; here it is shown that what came out is complete, keyed, exact and within its
bounds.
"""

from collections.abc import Collection
from datetime import date

from dagster_project.gates import _specs
from dagster_project.gates.expectations import ExpectationSpec, Suite

# A part is judged when it is configured: without invoices there are, rightly, no invoice lines.
PARTS = ("usage", "use_cases", "invoices", "reports", "kpis", "commitments", "seed_deployment_candidates")

_COST_COLUMNS = ("list_cost_usd", "contracted_cost_usd", "effective_cost_usd")

_TOKEN_COLUMNS = (
    "input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens",
    "reasoning_tokens", "input_audio_tokens", "output_audio_tokens", "input_image_tokens", "embedding_tokens",
)  # fmt: skip

_CALL_COLUMNS = (
    "source_name", "call_id", "called_at", "event_date", "provider_name", "model_name", "model_id",
    "team_name", "use_case_id", "pricing_status_type", "unpriced_reason_type",
    *_COST_COLUMNS, *_TOKEN_COLUMNS,
)  # fmt: skip


def suites(*, start_date: date, end_date: date, parts: Collection[str]) -> list[Suite]:
    """The suites of a candidate serving file.

    Args:
        start_date: First day that the warehouse holds.
        end_date: Last day that it may hold: the date of the data's as-of instant.
        parts: Which of `PARTS` the configuration feeds.

    Returns:
        The suites of the publication record and of each part.

    Raises:
        ValueError: A part is not known, or the window is empty.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ValueError(f"serving parts {', '.join(unknown)} are not among {', '.join(PARTS)}")
    if end_date < start_date:
        raise ValueError(f"the serving window ends on {end_date}, before it starts on {start_date}")
    by_part = {
        "usage": _usage(start_date, end_date),
        "use_cases": _use_cases(start_date, end_date),
        "invoices": _invoices(),
        "reports": _reports(),
        "kpis": _kpis(),
        "commitments": (*_capacity(start_date, end_date), *_SIZING),
        "seed_deployment_candidates": (_ALTERNATIVES,),
    }
    return [_PUBLICATION, *(suite for part in PARTS if part in parts for suite in by_part[part])]


_PUBLICATION = Suite(
    stage="serving",
    subject="publication",
    relation="ops.publication",
    specs=(
        _specs.not_empty(why="A reader asks here how old the figures are."),
        _specs.present("built_at", why="A reader asks here how old the figures are."),
        _specs.present("as_of", why="A reader asks here up to when the data reach."),
    ),
)


def _suite(subject: str, *specs: ExpectationSpec, day_column: str | None = None, may_be_empty: bool = False) -> Suite:
    return Suite(
        stage="serving",
        subject=subject,
        relation=f"marts.{subject}",
        specs=specs,
        day_column=day_column,
        may_be_empty=may_be_empty,
    )


def _filled() -> ExpectationSpec:
    return _specs.not_empty(why="Its feed is configured; an empty table would read as nothing spent.")


def _day_within_window(column: str, start_date: date, end_date: date) -> ExpectationSpec:
    return _specs.violations(
        f"{column} is null or {column} < date '{start_date.isoformat()}' or {column} > date '{end_date.isoformat()}'",
        aspect=column,
        predicate="within_range",
        rule=f"{column} lies from {start_date} to {end_date}.",
        why="A row outside the window is in no daily partition and is never restated.",
    )


def _decimal(column: str) -> ExpectationSpec:
    return _specs.violations(
        f"typeof({column}) not like 'DECIMAL%'",
        aspect=f"{column}_type",
        predicate="known",
        rule=f"{column} is a decimal.",
        why="A sum of floats depends on the order of the rows; finance adds it up to the cent.",
    )


def _not_negative(column: str, *, why: str) -> ExpectationSpec:
    return _specs.within_range(column, min_value=0, why=why)


def _usage(start_date: date, end_date: date) -> tuple[Suite, ...]:
    return (
        _suite(
            "fct_calls",
            _filled(),
            _specs.columns_present(_CALL_COLUMNS, why="Dashboards select these columns by name."),
            _specs.present("source_name", why="It is the first part of a call's name in every drill-down."),
            _specs.present("call_id", why="It is the second part of a call's name in every drill-down."),
            _specs.unique(
                ("source_name", "call_id", "event_date"),
                aspect="call",
                why="A repeated call is a cost counted twice.",
            ),
            _day_within_window("event_date", start_date, end_date),
            _specs.violations(
                "event_date is distinct from cast(timezone('UTC', called_at) as date)",
                aspect="event_date",
                predicate="reconciled",
                rule="event_date is the UTC date of called_at.",
                why="Days are summed by the one and drilled into by the other.",
            ),
            _specs.present("pricing_status_type", why="Coverage is counted by it."),
            _specs.known(
                "pricing_status_type",
                ("priced", "unpriced", "provisioned"),
                why="Coverage is counted by these three.",
            ),
            _specs.violations(
                "pricing_status_type = 'unpriced' and (effective_cost_usd is not null or unpriced_reason_type is null)",
                aspect="unpriced_reason",
                predicate="known",
                rule="An unpriced call has no effective cost, and a reason.",
                why="Unknown is not zero: a guessed cost would hide in every total.",
            ),
            _specs.violations(
                "pricing_status_type <> 'unpriced' and effective_cost_usd is null",
                aspect="effective_cost_usd",
                predicate="present",
                rule="A call that is not unpriced has an effective cost.",
                why="A null cost drops out of a sum while coverage says that it is in.",
            ),
            *(_not_negative(column, why="A call pays nobody; a credit is a charge line.") for column in _COST_COLUMNS),
            *(_decimal(column) for column in _COST_COLUMNS),
            _specs.violations(
                f"coalesce(least({', '.join(_TOKEN_COLUMNS)}) < 0, false)",
                aspect="tokens",
                predicate="within_range",
                rule="Token counts are null or not negative.",
                why="Staging rejects negative counts; one here came of subtracting overlapping kinds.",
            ),
            day_column="event_date",
        ),
        _suite(
            "rpt_daily_spend",
            _filled(),
            _specs.unique(
                ("event_date", "provider_name", "model_name", "team_name", "use_case_id"),
                aspect="grain",
                why="A repeated row is a day's spend counted twice.",
            ),
            _day_within_window("event_date", start_date, end_date),
            _not_negative("effective_cost_usd", why="Calls pay nobody; a credit is a charge line."),
            _decimal("effective_cost_usd"),
            day_column="event_date",
        ),
        _suite(
            "rpt_daily_reconciliation",
            _specs.unique(
                (
                    "layer_type",
                    "provider_name",
                    "billing_account_id",
                    "event_date",
                    "component_name",
                    "model_id",
                    "service_tier",
                    "unit_kind_type",
                    "cause_type",
                ),
                aspect="grain",
                why="A repeated step is a difference that is explained twice.",
            ),
            _specs.violations(
                "difference_usd is distinct from reported_cost_usd - compared_cost_usd",
                aspect="difference_usd",
                predicate="reconciled",
                rule="difference_usd is exactly reported minus compared cost.",
                why="A difference is judged by what it is of.",
            ),
            may_be_empty=True,
        ),
        _suite(
            "dim_models",
            _filled(),
            _specs.unique(
                ("reported_provider_name", "model_name"),
                aspect="grain",
                why="A repeated model doubles what is joined to it.",
            ),
        ),
    )


def _use_cases(start_date: date, end_date: date) -> tuple[Suite, ...]:
    return (
        _suite(
            "dim_use_cases",
            _filled(),
            _specs.present("use_case_id", why="It joins every use-case figure."),
            _specs.unique(
                ("use_case_id",),
                aspect="use_case_id",
                why="A repeated use case doubles what is joined to it.",
            ),
        ),
        _suite(
            "fct_use_case_instances",
            _filled(),
            _specs.unique(
                ("use_case_id", "use_case_version", "use_case_instance_id"),
                aspect="instance",
                why="A repeated instance is an outcome counted twice.",
            ),
            _day_within_window("started_date", start_date, end_date),
            _not_negative("cost_usd", why="Running a use case pays nobody; its value is another column."),
            _specs.violations(
                "coalesce(unpriced_call_count > 0, false) and cost_usd is not null",
                aspect="cost_usd",
                predicate="known",
                rule="An instance with an unpriced call has no cost.",
                why="Unknown is not zero: its cost would be understated by the unpriced call's.",
            ),
            day_column="started_date",
        ),
        _suite(
            "rpt_use_case_unit_economics",
            _filled(),
            _specs.unique(
                ("use_case_id", "use_case_version", "started_date"),
                aspect="grain",
                why="A repeated row is a day of a use case counted twice.",
            ),
            _specs.violations(
                "coalesce(success_count < 0 or success_count > instance_count, false)",
                aspect="success_count",
                predicate="within_range",
                rule="Successes are from 0 to the number of instances.",
                why="Cost per success divides by it.",
            ),
            _specs.within_range("success_share", min_value=0, max_value=1, why="It is a share of instances."),
            _not_negative("cost_usd", why="Running a use case pays nobody; its value is another column."),
        ),
        _suite(
            "rpt_use_case_leaderboard",
            _filled(),
            _specs.unique(("use_case_id",), aspect="use_case_id", why="A use case has one rank."),
            _specs.within_range("success_share", min_value=0, max_value=1, why="It is a share of instances."),
        ),
    )


def _invoices() -> tuple[Suite, ...]:
    return (
        _suite(
            "fct_invoice_lines",
            _filled(),
            _specs.unique(
                ("source_name", "invoice_line_id"),
                aspect="line",
                why="A repeated line is a charge counted twice.",
            ),
            _specs.violations(
                "(billed_cost_usd is null) <> (unconverted_reason_type is not null)",
                aspect="unconverted_reason",
                predicate="known",
                rule="A line has either its cost in USD or the reason why not.",
                why="Unknown is not zero: a line without either drops out of the bill.",
            ),
            _decimal("billed_cost_usd"),
        ),
        _suite(
            "rpt_reconciliation",
            _filled(),
            _specs.unique(
                (
                    "layer_type",
                    "provider_name",
                    "billing_account_id",
                    "billing_period_start_date",
                    "component_name",
                    "driver_type",
                    "bom_layer_type",
                    "model_id",
                    "service_tier",
                    "unit_kind_type",
                    "commitment_id",
                    "tagged_use_case_id",
                    "tagged_team_name",
                    "cause_type",
                    "evidence",
                ),
                aspect="grain",
                why="A repeated step is a part of the bill counted twice.",
            ),
            _specs.violations(
                "difference_usd is distinct from billed_cost_usd - compared_cost_usd",
                aspect="difference_usd",
                predicate="reconciled",
                rule="difference_usd is exactly billed minus compared cost.",
                why="Finance signs the difference.",
            ),
        ),
        _suite(
            "rpt_billing_periods",
            _filled(),
            _specs.unique(
                ("provider_name", "billing_account_id", "billing_period_start_date"),
                aspect="grain",
                why="A repeated period is a bill paid twice.",
            ),
            _specs.known(
                "status_type",
                ("open", "provisional", "final", "restated"),
                why="Finance closes its books by these four.",
            ),
            _specs.violations(
                "document_type is not null"
                " and invoice_usd is distinct from ledger_usd + explained_usd + unexplained_usd",
                aspect="invoice_usd",
                predicate="reconciled",
                rule="The bill is exactly the calls, the named charges and what is unexplained.",
                why="The ledger is the bill, or it says by how much it is not.",
            ),
        ),
    )


def _reports() -> tuple[Suite, ...]:
    return (
        _suite(
            "fct_provider_usage",
            _filled(),
            _specs.unique(
                (
                    "source_name", "provider_name", "billing_account_id", "event_date", "model_name", "model_id",
                    "service_tier", "region_id", "unit_kind_type", "is_workbench",
                ),
                aspect="grain",
                why="Use that stands twice would look like telemetry that is missing.",
            ),
            _not_negative("quantity_units", why="Nobody uses less than nothing."),
        ),
    )  # fmt: skip


def _kpis() -> tuple[Suite, ...]:
    return (
        _suite(
            "fct_kpi_scores",
            _filled(),
            _specs.present("kpi_name", why="A score without its KPI enters no value equation."),
            _specs.unique(
                ("source_name", "kpi_score_id"),
                aspect="score",
                why="A repeated score is value counted twice.",
            ),
        ),
    )


def _capacity(start_date: date, end_date: date) -> tuple[Suite, ...]:
    # Work is weighted by dated reference data, so an hour at the limit may come out slightly above it.
    utilized = "More work than was bought: the throughput per unit or the spillover flag is wrong."
    return (
        _suite(
            "fct_capacity_hours",
            _filled(),
            _specs.unique(
                ("commitment_id", "allocation_id", "hour_at"),
                aspect="hour",
                why="A repeated hour is a commitment paid twice.",
            ),
            _day_within_window("event_date", start_date, end_date),
            _specs.known(
                "allocation_type",
                ("deployment", "unallocated", "spillover_of_unknown_origin", "not_deployed"),
                why="Idle and unallocated capacity are different decisions.",
            ),
            _specs.within_range("utilization_share", min_value=0, max_value=1, why=utilized, severity="warn"),
            _not_negative("cost_usd", why="Capacity pays nobody."),
            _specs.violations(
                "cost_usd is distinct from used_cost_usd + idle_cost_usd + unallocated_cost_usd",
                aspect="cost_usd",
                predicate="conserved",
                rule="cost_usd is exactly used + idle + unallocated.",
                why="What is paid for capacity is either used or wasted; a remainder would be neither.",
            ),
        ),
        _suite(
            "rpt_capacity_utilization",
            _filled(),
            _specs.unique(
                ("commitment_id", "allocation_id", "event_date"),
                aspect="grain",
                why="A repeated day is a commitment paid twice.",
            ),
            _specs.violations(
                "cost_usd is distinct from used_cost_usd + idle_cost_usd + unallocated_cost_usd",
                aspect="cost_usd",
                predicate="conserved",
                rule="cost_usd is exactly used + idle + unallocated.",
                why="What is paid for capacity is either used or wasted; a remainder would be neither.",
            ),
        ),
    )


def _analytics_suite(subject: str, *specs: ExpectationSpec) -> Suite:
    return Suite(stage="serving", subject=subject, relation=f"analytics.{subject}", specs=specs)


_SIZING = (
    _analytics_suite(
        "capacity_recommendations",
        _specs.not_empty(why="Every commitment has a row, if only to say why nothing is recommended."),
        _specs.unique(
            ("commitment_id", "scope_id"),
            aspect="scope",
            why="A repeated deployment is bought twice by whoever adds up.",
        ),
        _specs.violations(
            "(recommended_units is null) <> (unavailable_reason is not null)",
            aspect="unavailable_reason",
            predicate="known",
            rule="A row has either a number of units or the reason why not.",
            why="Unknown is not zero: no recommendation is not a recommendation to buy none.",
        ),
        _specs.violations(
            "coalesce(recommended_units < 0, false) or coalesce(recommended_units > 0 and ("
            "recommended_units < minimum_units "
            "or (recommended_units - minimum_units) % unit_increment_units <> 0), false)",
            aspect="recommended_units",
            predicate="within_range",
            rule="What is recommended is none, or the minimum and whole increments.",
            why="A count that the provider does not sell cannot be bought.",
        ),
        _specs.violations(
            # Expected tokens are floats: on a tie their last bits differ by less than a millionth of a dollar.
            "coalesce(recommended_usd_per_day > on_demand_usd_per_day + 0.000001, false)",
            aspect="recommended_usd_per_day",
            predicate="within_range",
            rule="What is recommended costs no more than buying none.",
            why="The cheapest count includes none; a dearer one is an error of the sizing.",
        ),
        _specs.violations(
            "saving_usd_per_day is distinct from current_usd_per_day - recommended_usd_per_day",
            aspect="saving_usd_per_day",
            predicate="reconciled",
            rule="saving_usd_per_day is exactly the current less the recommended cost.",
            why="A saving is what the order is signed for.",
        ),
    ),
)

_ALTERNATIVES = _analytics_suite(
    "deployment_alternatives",
    _specs.not_empty(why="Candidates are declared; each has a row, if only to say why it cannot be compared."),
    _specs.unique(("use_case_id", "candidate_id"), aspect="candidate", why="A candidate with two costs has none."),
    _specs.violations(
        "(cost_usd_per_day is null) <> (unavailable_reason is not null)",
        aspect="unavailable_reason",
        predicate="known",
        rule="A candidate has either a cost or the reason why not.",
        why="Unknown is not zero: a candidate without a price would be the cheapest.",
    ),
    _not_negative("cost_usd_per_day", why="Running a use case pays nobody."),
    _specs.violations(
        "cost_usd_per_day is not null and current_usd_per_day is not null "
        "and saving_usd_per_day is distinct from current_usd_per_day - cost_usd_per_day",
        aspect="saving_usd_per_day",
        predicate="reconciled",
        rule="saving_usd_per_day is exactly the current cost less the candidate's.",
        why="A saving is what the move is decided by.",
    ),
)
