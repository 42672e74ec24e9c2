"""Google Cloud's billing export (standard or detailed usage cost), as JSON Lines that BigQuery wrote to a bucket.

A row of the export is a charge and a list of credits that lower it. Both land as records, `record_type` says which:
the charge with the export's own cost, and each credit with its amount. Records are names of the export with `_` for
`.`; labels become JSON objects. BigQuery's export states the invoice month anew, in a folder per month or run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.sources._bills import (
    AMOUNT_TYPE,
    DELIVERY_COLUMNS,
    Delivery,
    RestatedPeriod,
    delivered,
    deliveries,
)
from dagster_project.sources._columns import TimestampOptions, from_python, text_of, to_type
from dagster_project.sources._connector import UTC_TIMESTAMP, Batch, Connector, Entity, InputPull, PullContext
from dagster_project.sources._files import file_inputs
from dagster_project.sources._tabular import (
    ColumnMapping,
    RawBatch,
    TableOptions,
    attributes_json,
    read_raw,
    typed_batch,
)

_TEXTS = {
    "billing_account_id": "billing_account_id",
    "service_id": "service.id",
    "service_description": "service.description",
    "sku_id": "sku.id",
    "sku_description": "sku.description",
    "project_id": "project.id",
    "project_name": "project.name",
    "labels": "labels",
    "system_labels": "system_labels",
    "tags": "tags",
    "location_location": "location.location",
    "location_region": "location.region",
    "resource_name": "resource.name",
    "resource_global_name": "resource.global_name",
    "currency": "currency",
    "usage_unit": "usage.unit",
    "usage_pricing_unit": "usage.pricing_unit",
    "invoice_month": "invoice.month",
    "cost_type": "cost_type",
    "adjustment_type": "adjustment_info.type",
    "adjustment_description": "adjustment_info.description",
    "transaction_type": "transaction_type",
    "seller_name": "seller_name",
    "subscription_instance_id": "subscription.instance_id",
}
_INSTANTS = {
    "usage_start_time": "usage_start_time",
    "usage_end_time": "usage_end_time",
    "export_time": "export_time",
}
_AMOUNTS = {
    "cost": "cost",
    "cost_at_list": "cost_at_list",
    "usage_amount": "usage.amount",
    "usage_amount_in_pricing_units": "usage.amount_in_pricing_units",
}
_NAMES = _TEXTS | _INSTANTS | _AMOUNTS
_LISTS_OF_PAIRS = ("labels", "system_labels", "tags")
_CREDIT_COLUMNS = ("credit_id", "credit_type", "credit_name", "credit_full_name")
_REQUIRED = ("usage_start_time", "usage_end_time", "cost", "currency", "invoice_month")

CHARGES = Entity(
    name="charges",
    schema=pa.schema(
        [
            ("record_type", pa.string()),
            *((name, pa.string()) for name in (*_TEXTS, *_CREDIT_COLUMNS)),
            *((name, UTC_TIMESTAMP) for name in _INSTANTS),
            *((name, AMOUNT_TYPE) for name in _AMOUNTS),
            *DELIVERY_COLUMNS,
        ]
    ),
    day_column="usage_start_time",
    amount_columns=("cost", "cost_at_list"),
    is_rounded=True,
    known_attributes=frozenset(
        {
            "adjustment_info.id",
            "adjustment_info.mode",
            "consumption_model",
            "cost_at_effective_price_default",
            "cost_at_list_consumption_model",
            "currency_conversion_rate",
            "invoice.publisher_type",
            "location.country",
            "location.zone",
            "price",
            "project.ancestors",
            "project.ancestry_numbers",
            "project.labels",
            "project.number",
        }
    ),
)


class GcpBillingFilesOptions(TableOptions):
    """Options of Google Cloud's billing export.

    Attributes:
        delivery: What arrives at once: all files of a folder, or each file.
        restates: What a delivery states anew of a billing account's invoice month.
    """

    format: Literal["jsonl"] = "jsonl"
    delivery: Delivery = "folder"
    restates: RestatedPeriod = "billing_period"


# Names of what is made of a row; no member of an export can have them.
_OTHERS, _RECORD_TYPE, _CREDITS = "\x00others", "\x00record_type", "credits"
# The objects of a row, and their members that have a column.
_OBJECTS = {
    root: {name.partition(".")[2] for name in _NAMES.values() if name.startswith(f"{root}.")}
    for root in sorted({name.partition(".")[0] for name in _NAMES.values() if "." in name})
}


class _Reader:
    """Reads one file; numbers charges and their credits through."""

    def __init__(self, input_uri: str, options: GcpBillingFilesOptions) -> None:
        self._input_uri = input_uri
        self._options = options
        self._credits_before = 0
        self._mapping = ColumnMapping(
            columns={
                **_NAMES,
                **{name: f"\x00{name}" for name in _CREDIT_COLUMNS},
                "record_type": _RECORD_TYPE,
                "attributes_json": _OTHERS,
            },
            constants=delivered(input_uri, options.delivery, options.restates),
            required=_REQUIRED,
            null_words=("", *options.null_words),
        )

    def batches(self, path: Path) -> Iterator[Batch]:
        wanted = [*_NAMES.values(), _CREDITS]
        for raw in read_raw(path, self._input_uri, self._options, wanted, with_others=True):
            others = [name for name in raw.columns if name not in _OBJECTS and name not in wanted]
            raw.columns[_OTHERS] = attributes_json(raw, [*others, *_split_objects(raw)])
            for name in _LISTS_OF_PAIRS:
                raw.columns[name] = _objects(raw.columns[name])
            yield typed_batch(self._with_credits(raw), CHARGES, self._mapping, TimestampOptions(), self._input_uri)

    def _with_credits(self, raw: RawBatch) -> RawBatch:
        """Put each row's credits behind it as records of their own."""
        credits_of = [_credits(text) for text in raw.columns[_CREDITS].to_pylist()]
        counts = np.array([len(found) for found in credits_of], dtype=np.int64)
        rows = np.repeat(np.arange(raw.rows), counts + 1)
        places = np.arange(len(rows)) - np.repeat(np.cumsum(counts + 1) - counts - 1, counts + 1)
        before = np.concatenate([[0], np.cumsum(counts)]) + self._credits_before
        self._credits_before = int(before[-1])
        is_credit = pa.array(places > 0)
        found = [
            credits_of[row][place - 1] if place else {}
            for row, place in zip(rows.tolist(), places.tolist(), strict=True)
        ]

        def of_credits(member: str) -> pa.Array:
            return pa.array([text_of(item.get(member)) for item in found], pa.string())

        columns = {name: values.take(pa.array(rows)) for name, values in raw.columns.items() if name != _CREDITS}
        # As text, so that a member of another type is a reason to reject its record, and not its file.
        for name in (*_INSTANTS.values(), *_AMOUNTS.values()):
            columns[name] = to_type(columns[name], pa.string(), TimestampOptions()).values
        for name in _AMOUNTS.values():
            given = of_credits("amount") if name == "cost" else pa.nulls(len(rows), pa.string())
            columns[name] = pc.if_else(is_credit, given, columns[name])
        columns |= {f"\x00{name}": of_credits(name.removeprefix("credit_")) for name in _CREDIT_COLUMNS}
        columns[_RECORD_TYPE] = pc.if_else(is_credit, "credit", "charge")
        positions = raw.record_index
        shifts = {
            reject.record_index: int(before[np.searchsorted(positions, reject.record_index)]) for reject in raw.rejects
        }

        def raw_text(chosen: Sequence[int]) -> list[str]:
            return raw.raw_text([int(rows[row]) for row in chosen])

        return RawBatch(
            columns,
            positions[rows] + before[:-1][rows] + places,
            raw_text,
            [replace(item, record_index=item.record_index + shifts[item.record_index]) for item in raw.rejects],
        )


def _split_objects(raw: RawBatch) -> list[str]:
    """Make columns of the members of a row's objects that have none, and give their names."""
    names = []
    for root, known in _OBJECTS.items():
        if root not in raw.columns:
            continue
        found = [_parsed(value) for value in raw.columns[root].to_pylist()]
        for member in sorted({name for item in found for name in item} - known):
            raw.columns[f"{root}.{member}"] = from_python([item.get(member) for item in found])
            names.append(f"{root}.{member}")
    return names


def _parsed(value: object) -> dict[str, Any]:
    try:
        found = orjson.loads(value) if isinstance(value, str) else None
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {}


def _credits(text: str | None) -> list[dict[str, Any]]:
    """Read a row's list of credits; an item that is no object counts as a credit without an amount."""
    found = orjson.loads(text) if text else []
    return [item if isinstance(item, dict) else {} for item in found] if isinstance(found, list) else [{}]


def _objects(values: pa.Array) -> pa.Array:
    """Write lists of keys and values as JSON objects; anything else stays as it is."""
    return pa.array([_object(value) for value in values.to_pylist()], pa.string())


def _object(value: object) -> str | None:
    if not isinstance(value, str):
        return text_of(value)
    try:
        pairs = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    is_pairs = isinstance(pairs, list) and all(isinstance(item, dict) and "key" in item for item in pairs)
    if not is_pairs:
        return value
    return text_of({str(item["key"]): item.get("value") for item in pairs}) if pairs else None


def _read(options: GcpBillingFilesOptions, context: PullContext) -> Iterator[InputPull]:
    files = file_inputs(options, context, lambda path, input_uri: _Reader(input_uri, options).batches(path))
    return deliveries(files, options.delivery)


connector = Connector(
    kind="gcp_billing_files", feed="invoices", entities=(CHARGES,), options=GcpBillingFilesOptions, read=_read
)
