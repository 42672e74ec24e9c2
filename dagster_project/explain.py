"""What a call cost and why: every charge with its arithmetic, read from the published warehouse.

`find_calls` reads rows; the rest turns rows into text and is pure. Amounts are decimals, exact to the last digit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from dagster_project.settings import PROJECT_ROOT

QUESTION = PROJECT_ROOT / "sql" / "questions" / "call_arithmetic.sql"

Row = Mapping[str, Any]

_CALLS_SQL = """
select
    source_name, call_id, called_at, event_date, provider_name, model_name, model_id, service_tier, region_id,
    deployment_id, is_spillover, pricing_status_type, unpriced_reason_type, reported_input_tokens,
    reported_output_tokens, list_cost_usd, contracted_cost_usd, effective_cost_usd
from marts.fct_calls
where call_id = $call_id and source_name = coalesce($source_name, source_name)
order by called_at, source_name
"""

_HOUR_SQL = """
select commitment_id, used_tokens, used_cost_usd, call_count
from marts.fct_capacity_hours
where deployment_id = $deployment_id and hour_at = date_trunc('hour', $called_at::timestamptz)
"""

_WEEK_MINUTES = 10_080
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ONE = Decimal(1)


@dataclass(frozen=True)
class CallExplanation:
    """A call with everything its cost rests on.

    Attributes:
        call: Its row of `fct_calls`.
        charges: Its rows of the question `call_arithmetic`, one per unit kind.
        capacity_hour: The hour of the deployment that served it, when bought capacity did.
    """

    call: Row
    charges: Sequence[Row] = field(default_factory=tuple)
    capacity_hour: Row | None = None

    @property
    def charged_list_usd(self) -> Decimal | None:
        """Sum of the charges at list price, USD; None when one of them has no price."""
        return _sum(row["list_cost_usd"] for row in self.charges)

    @property
    def charged_contracted_usd(self) -> Decimal | None:
        """Sum of the charges after free units and terms, USD; None when one of them has no price."""
        return _sum(row["contracted_cost_usd"] for row in self.charges)

    def lines(self) -> list[str]:
        """Give the explanation as lines of text."""
        lines = [_title(self.call)]
        for charge in self.charges:
            lines += charge_lines(charge, self.call)
        return [*lines, *self._closing_lines()]

    def as_json(self) -> dict[str, Any]:
        """Give the explanation as plain data; amounts are text, exact to their last digit."""
        return {
            "call": _plain(self.call),
            "charges": [{**_plain(row), "explanation": charge_lines(row, self.call)} for row in self.charges],
            "capacity_hour": _plain(self.capacity_hour) if self.capacity_hour else None,
            "charged_list_usd": _text(self.charged_list_usd),
            "charged_contracted_usd": _text(self.charged_contracted_usd),
            "explanation": self._closing_lines(),
        }

    def _closing_lines(self) -> list[str]:
        call = self.call
        if call["pricing_status_type"] == "unpriced":
            return next_step(call, self.charges)
        lines = []
        if call["list_cost_usd"] is not None:
            lines.append(_sum_line("list", self.charged_list_usd, call["list_cost_usd"]))
        if call["pricing_status_type"] == "provisioned":
            return [
                *lines,
                "contracted cost: 0 USD, bought capacity served it",
                *capacity_lines(call, self.capacity_hour),
            ]
        lines.append(_sum_line("contracted", self.charged_contracted_usd, call["contracted_cost_usd"]))
        return [*lines, f"effective cost: {_number(call['effective_cost_usd'])} USD, the contracted cost"]


def find_calls(con: duckdb.DuckDBPyConnection, call_id: str, source_name: str | None = None) -> list[CallExplanation]:
    """Read the calls of an id from the published warehouse, with their charges; none gives an empty list."""
    keys = {"call_id": call_id, "source_name": source_name}
    charges = _rows(con, QUESTION.read_text(encoding="utf-8"), keys)
    found = []
    for call in _rows(con, _CALLS_SQL, keys):
        own = [
            row
            for row in charges
            if (row["source_name"], row["event_date"]) == (call["source_name"], call["event_date"])
        ]
        hours = []
        if call["pricing_status_type"] == "provisioned":
            hours = _rows(con, _HOUR_SQL, {name: call[name] for name in ("deployment_id", "called_at")})
        found.append(CallExplanation(call, own, hours[0] if hours else None))
    return found


def describe_absence(
    con: duckdb.DuckDBPyConnection, serving_path: Path, call_id: str, source_name: str | None = None
) -> str:
    """Say what was searched when no call has the id, what there is, and where else to look."""
    row = con.execute(
        "select count(*), min(event_date), max(event_date), list(distinct source_name order by source_name)"
        " from marts.fct_calls"
    ).fetchone()
    count, first, last, sources = row or (0, None, None, None)
    tried = f"call_id = '{call_id}'" + (f" and source_name = '{source_name}'" if source_name else " in every source")
    return (
        f"No such call: {tried} finds nothing in marts.fct_calls of {serving_path}, which holds {count:,} calls from "
        f"{first} to {last} of the sources {', '.join(sources or []) or 'none'}. Ids are compared letter by letter. A "
        "record that was rejected is in intermediate.int_usage__calls_rejected of the pipeline's own warehouse, with "
        "its reason; one that landed since the last run is published by `tokenledger run`."
    )


def charge_lines(charge: Row, call: Row) -> list[str]:
    """Say how a charge came about: the product first, then what the unit price rests on."""
    quantity = _number(charge["quantity_units"])
    kind = charge["unit_kind_type"]
    if charge["list_usd_per_unit"] is None and charge["contracted_usd_per_unit"] is None:
        return [f"{kind}: {quantity} units have no price"]
    lines = [f"{kind}: {_product(quantity, charge['list_usd_per_unit'], charge['list_cost_usd'])} at list price"]
    lines += [f"  {line}" for line in _price_lines(charge, call)]
    free = charge["free_units"]
    if call["pricing_status_type"] == "provisioned":
        return lines
    if free:
        paid = _number(charge["quantity_units"] - free)
        lines.append(f"  free: {_number(free)} of the {quantity} units, {_allowance(charge)}")
        quantity = f"({quantity} - {_number(free)} = {paid})"
    product = _product(quantity, charge["contracted_usd_per_unit"], charge["contracted_cost_usd"])
    return [*lines, f"  contracted: {product}"]


def next_step(call: Row, charges: Sequence[Row]) -> list[str]:
    """Say why a call has no price, and which row of which file would give it one."""
    day, provider, model = call["event_date"], call["provider_name"], call["model_name"]
    reason = call["unpriced_reason_type"]
    price_row = (
        f"a contract_files row with term_type unit_price, provider_name {provider}, model_pattern {model}, "
        "is_list true, the price and its evidence"
    )
    if reason == "missing_token_count":
        cause = "the source reported no token count"
        step = (
            f"map input_tokens and output_tokens of the source {call['source_name']} in the configuration, or have it "
            "report them: an unknown count is not zero"
        )
    elif reason == "unknown_model" and not (provider and model):
        cause = "the source named no provider or no model"
        step = f"map provider_name and model_name of the source {call['source_name']} in the configuration"
    elif reason == "unknown_model":
        cause = f"no rate card lists {model} of {provider}"
        step = (
            f"add to seed_model_aliases.csv the row `{provider},{model},<model of a rate card>,<evidence>`, to "
            f"seed_provider_aliases.csv a row when the rate cards name the provider otherwise, or {price_row}"
        )
    elif reason == "no_rate_on_that_day":
        cause = f"no rate of {call['model_id']} of {provider} holds for the call on {day}, tier {call['service_tier']}"
        step = f"add {price_row}, valid_from {day} or before, one for each unit kind"
    elif reason == "no_exchange_rate":
        of_unpriced = [row for row in charges if row["contracted_cost_usd"] is None]
        named = {str(row["contract_pricing_currency"] or row["pricing_currency"]) for row in of_unpriced}
        currencies = sorted(named - {"None", "USD"})
        rows = " and ".join(f"`{currency},{day},<usd_per_currency_unit>,<evidence>`" for currency in currencies)
        cause = f"no rate of exchange of {' and '.join(currencies)} is known for {day}"
        step = f"add to seed_exchange_rates.csv {rows}"
    else:
        kinds = [row["unit_kind_type"] for row in charges if row["contracted_cost_usd"] is None]
        cause = f"the rate card has no price of {', '.join(kinds) or 'a unit kind that it used'}"
        step = f"add {price_row}, unit_kind {' and '.join(kinds) or 'of that kind'}, valid_from {day} or before"
    return [f"unpriced ({reason}): {cause}", f"next: {step}"]


def capacity_lines(call: Row, hour: Row | None) -> list[str]:
    """Say which share of its hour a call took on bought capacity."""
    cost = _number(call["effective_cost_usd"])
    if hour is None:
        return [f"effective cost: {cost} USD, its share of {call['deployment_id']}; its hour is not published"]
    used = hour["used_cost_usd"]
    share = f" ({_number((100 * call['effective_cost_usd'] / used).quantize(Decimal('0.0001')))} %)" if used else ""
    text = (
        f"effective cost: {cost} USD, its share by work{share} of the {_number(used)} USD that {_count_of_calls(hour)} "
        f"with {hour['used_tokens']:,} weighted tokens used of {hour['commitment_id']} in that hour, "
        f"deployment {call['deployment_id']}"
    )
    return [text]


def _price_lines(charge: Row, call: Row) -> list[str]:
    lines = []
    if charge["list_usd_per_unit"] is not None:
        lines.append(_listed(charge))
        if charge["price_kind_type"] != charge["unit_kind_type"]:
            lines.append(f"fallback: the price of {charge['price_kind_type']} stands in, none of its own is listed")
        if charge["rate_service_tier"] not in {None, charge["service_tier"]}:
            lines.append(
                f"fallback: the tier {charge['service_tier']} lists none, {charge['rate_service_tier']} stands in"
            )
        lines += _conditions(charge, call, "rate", is_inclusive=charge["is_threshold_inclusive"])
    return lines + _terms(charge, call)


def _listed(charge: Row) -> str:
    factors = [f"{_number(charge['rate_unit_price'])} {charge['pricing_currency']}"]
    for name, text in (("region_multiplier", "region"), ("tier_multiplier", "tier")):
        if charge[name] not in {None, _ONE}:
            factors.append(f"{_number(charge[name])} ({text} multiplier)")
    if charge["pricing_currency"] != "USD":
        factors.append(f"{_number(charge['usd_per_currency_unit'])} (USD per {charge['pricing_currency']})")
    price = " x ".join(factors)
    if len(factors) > 1:
        price = f"{price} = {_number(charge['list_usd_per_unit'])} USD"
    region = charge["rate_region_id"] or "every region"
    return f"listed: {price} by {charge['rate_source_name']}, {region}; evidence: {charge['rate_evidence'] or 'none'}"


def _conditions(charge: Row, call: Row, part: str, *, is_inclusive: bool = False) -> list[str]:
    """Say for which inputs and at which times of the week the list rate (`rate`) or the term (`contract`) holds."""
    names = ("context_over_tokens", "context_up_to_tokens", "week_minute_from", "week_minute_to")
    over, up_to, minute_from, minute_to = (charge[f"{part}_{name}"] for name in names)
    lines = []
    if over is not None and over >= 0:
        rule = f"{over + 1:,} or more" if is_inclusive else f"more than {over:,}"
        upper = f", up to {up_to:,}" if up_to is not None else ""
        name = "inclusive" if is_inclusive else "strict"
        whole = call["reported_input_tokens"]
        lines.append(f"threshold: the price for {rule} input tokens{upper} ({name} rule); the call has {whole:,}")
    if (minute_from, minute_to) not in {(0, _WEEK_MINUTES), (None, None)}:
        lines.append(f"window of the week: {week_instant(minute_from)} to {week_instant(minute_to)} UTC")
    return lines


def _terms(charge: Row, call: Row) -> list[str]:
    lines = []
    if charge["contract_id"]:
        if charge["contract_term_type"] == "unit_price":
            currency = charge["contract_pricing_currency"]
            term = f"{_number(charge['contract_unit_price'])} {currency} per unit"
            if currency != "USD":
                term += f" x {_number(charge['contract_usd_per_currency_unit'])} (USD per {currency})"
        else:
            term = f"{_percent(charge['discount_share'])} off the list price"
        lines.append(f"contract {charge['contract_id']}: {term}; evidence: {charge['contract_evidence'] or 'none'}")
        lines += _conditions(charge, call, "contract")
    if charge["spend_contract_id"]:
        share = _percent(charge["spend_discount_share"])
        lines.append(f"enterprise discount {charge['spend_contract_id']}: {share} off what remains")
    return lines


def _allowance(charge: Row) -> str:
    if charge["allowance_units"] is None:
        return "by an allowance that is not stated any more"
    by = charge["allowance_contract_id"] or charge["allowance_source_name"]
    return (
        f"within the {charge['allowance_units']:,} a {charge['allowance_period_type']} (UTC) of the group "
        f"{charge['allowance_group']} by {by}; evidence: {charge['allowance_evidence'] or 'none'}"
    )


def week_instant(minute: int) -> str:
    """Name a minute of the week, counted from Monday 00:00; 10,080 is the next Monday."""
    day, rest = divmod(minute, 1440)
    return f"{_DAYS[day % 7]} {rest // 60:02}:{rest % 60:02}"


def _title(call: Row) -> str:
    place = f", region {call['region_id']}" if call["region_id"] else ""
    model = call["model_name"] or "unnamed model"
    if call["model_id"] and call["model_id"] != call["model_name"]:
        model = f"{model} (priced as {call['model_id']})"
    return (
        f"{call['call_id']} of {call['source_name']}: {call['provider_name'] or 'unnamed provider'} {model}, tier "
        f"{call['service_tier']}{place}, {call['called_at'].isoformat()}, {call['pricing_status_type']}"
    )


def _product(quantity: str, usd_per_unit: Decimal | None, cost_usd: Decimal | None) -> str:
    if usd_per_unit is None or cost_usd is None:
        return f"{quantity} units without a price"
    return f"{quantity} x {_number(usd_per_unit)} USD = {_number(cost_usd)} USD"


def _sum_line(name: str, charged_usd: Decimal | None, cost_usd: Decimal) -> str:
    if charged_usd == cost_usd:
        return f"{name} cost: {_number(cost_usd)} USD, the sum of the charges"
    charged = "unknown" if charged_usd is None else _number(charged_usd)
    return f"{name} cost: {_number(cost_usd)} USD; THE CHARGES SUM TO {charged}: report this as a defect"


def _sum(amounts: Any) -> Decimal | None:  # noqa: ANN401 - an iterable of decimals and None
    total = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def _number(value: Decimal) -> str:
    """Write a decimal without trailing zeros and without an exponent."""
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _count_of_calls(hour: Row) -> str:
    return f"{hour['call_count']:,} call{'' if hour['call_count'] == 1 else 's'}"


def _percent(share: Decimal) -> str:
    return f"{_number(100 * share)} %"


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _plain(row: Row) -> dict[str, Any]:
    return {
        name: value if value is None or isinstance(value, bool | int) else str(value) for name, value in row.items()
    }


def _rows(con: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    cursor = con.execute(sql, dict(parameters))
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
