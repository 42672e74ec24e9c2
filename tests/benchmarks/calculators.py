"""Benchmark (e): how many calls a second the libraries' own calculators price, one after the other."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genai_prices.data import providers

from tests.conformance.grid import GENAI_PRICES, genai_prices_cells, litellm_cells
from tests.conformance.libraries import litellm_entries, time_calculator

# The plain calls of this many models, each priced this many times.
_MODEL_COUNT = 500
_REPEATS = 20


def time_library(folder: str, library: str) -> Mapping[str, Any]:
    """Time the calculator on plain calls (input and output only): its shortest path."""
    cells = genai_prices_cells(providers) if library == GENAI_PRICES else litellm_cells(litellm_entries())
    plain = [cell for cell in cells if cell.dimension == "plain"][:_MODEL_COUNT]
    return asdict(time_calculator(library, plain, Path(folder), _REPEATS))
