"""The comparison with each library: made once per session, read by the tests, reported at the end."""

from collections.abc import Callable, Sequence

import pytest

from tests.conformance import agreement, ledger, libraries
from tests.conformance.agreement import Judgement
from tests.conformance.grid import Cell

_REPORTS = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def judge(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[str, Sequence[Cell], str], list[Judgement]]:
    """Price a library's grid on both sides; `prices` are the options of its price source."""

    def judge_library(library: str, cells: Sequence[Cell], prices: str) -> list[Judgement]:
        folder = tmp_path_factory.mktemp(library)
        answers = libraries.ask(library, cells, folder)
        judgements = agreement.compare(cells, answers, ledger.price(cells, prices, folder))
        lines = agreement.report(library, libraries.library_version(library), judgements)
        request.config.stash.setdefault(_REPORTS, []).extend(lines)
        return judgements

    return judge_library


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the agreement by dimension."""
    if lines := config.stash.get(_REPORTS, []):
        terminalreporter.section("conformance, calls by dimension")
        for line in lines:
            terminalreporter.line(line)
