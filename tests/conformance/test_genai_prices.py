"""The ledger against genai-prices, from the same rates."""

from collections.abc import Callable, Sequence

import pytest
from genai_prices.data import providers

from tests.conformance import agreement, libraries
from tests.conformance.agreement import AGREE, NOT_COMPARABLE, Judgement
from tests.conformance.grid import GENAI_PRICES, Cell, genai_prices_cells

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def judgements(judge: Callable[[str, Sequence[Cell], str], list[Judgement]]) -> list[Judgement]:
    return judge(GENAI_PRICES, genai_prices_cells(providers), "kind: genai_prices")


def test_every_model_of_the_library_is_compared(judgements: list[Judgement]):
    compared = {(item.cell.provider, item.cell.model) for item in judgements}
    assert compared == {(provider.id, model.id) for provider in providers for model in provider.models}


def test_every_dimension_has_calls_on_which_both_agree(judgements: list[Judgement]):
    counts = agreement.by_dimension(judgements)
    assert {dimension for dimension, found in counts.items() if not found[AGREE]} == {"output_without_price"}


def test_the_library_prices_every_call(judgements: list[Judgement]):
    assert [str(item) for item in judgements if item.outcome == NOT_COMPARABLE] == []


def test_every_difference_is_known_and_every_known_difference_occurs(judgements: list[Judgement]):
    known = agreement.known_differences(GENAI_PRICES)
    assert agreement.complaints(judgements, known, libraries.library_version(GENAI_PRICES)) == []
