"""The truths' JSON form."""

import json
from decimal import Decimal

import pytest

from dagster_project.demo.truths import Truths, ratio
from tests.demo.conftest import Feeds


def test_truths_survive_a_round_trip_through_json(small_feeds: Feeds):
    text = (small_feeds.folder / "truths.json").read_text(encoding="utf-8")
    assert Truths.from_json(text) == small_feeds.truths
    assert small_feeds.truths.to_json() == text


def test_truths_json_has_no_float(small_feeds: Feeds):
    def refuse(text: str) -> float:
        pytest.fail(f"a float in the truths: {text}")

    json.loads(small_feeds.truths.to_json(), parse_float=refuse)


def test_ratio_is_rounded_to_six_places():
    assert ratio(1, 3) == Decimal("0.333333")
    assert ratio(Decimal("847000"), 2) == Decimal("423500.000000")
