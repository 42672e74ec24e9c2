"""The ledger against litellm, from the same rates."""

from collections.abc import Callable, Sequence

import pytest

from tests.conformance import agreement, libraries
from tests.conformance.agreement import AGREE, NOT_COMPARABLE, Judgement
from tests.conformance.grid import LITELLM, Cell, litellm_cells

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def judgements(judge: Callable[[str, Sequence[Cell], str], list[Judgement]]) -> list[Judgement]:
    prices = f"kind: litellm_prices, path: {libraries.litellm_price_file()}"
    return judge(LITELLM, litellm_cells(libraries.litellm_entries()), prices)


def test_every_model_that_the_library_prices_by_tokens_is_compared(judgements: list[Judgement]):
    priced = {
        name
        for name, entry in libraries.litellm_entries().items()
        if {"input_cost_per_token", "tiered_pricing"} & set(entry) and name != "sample_spec"
    }
    assert {item.cell.model for item in judgements} == priced


def test_every_dimension_has_calls_on_which_both_agree(judgements: list[Judgement]):
    counts = agreement.by_dimension(judgements)
    assert [dimension for dimension, found in counts.items() if not found[AGREE]] == []


def test_the_library_prices_every_call(judgements: list[Judgement]):
    assert [str(item) for item in judgements if item.outcome == NOT_COMPARABLE] == []


def test_every_difference_is_known_and_every_known_difference_occurs(judgements: list[Judgement]):
    known = agreement.known_differences(LITELLM)
    assert agreement.complaints(judgements, known, libraries.library_version(LITELLM)) == []
