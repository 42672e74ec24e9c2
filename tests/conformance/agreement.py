"""Where the ledger and a library agree, where they differ, and which differences are known.

`known_differences.csv` holds one row per cause, over patterns of dimension, provider and model. Its rows are read
in order: a difference belongs to the first row that it fits. A row names the version of the library that it was judged
on and how many cells it explains, so that neither a new difference nor one that is gone hides behind a pattern.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path

from tests.conformance.grid import Cell
from tests.conformance.ledger import Charge
from tests.conformance.libraries import Answer

KNOWN_DIFFERENCES = Path(__file__).resolve().parent / "known_differences.csv"
TOLERANCE = Decimal("1e-9")

AGREE = "agree"
NOT_COMPARABLE = "not_comparable"
OTHER_COST = "other_cost"
UNPRICED = "unpriced"
UNPRICED_NOT_FREE = "unpriced_not_free"
OUTCOMES = (AGREE, OTHER_COST, UNPRICED, UNPRICED_NOT_FREE, NOT_COMPARABLE)


@dataclass(frozen=True)
class Judgement:
    """One cell, priced by both.

    Attributes:
        cell: The call.
        answer: What the library says.
        charge: What the ledger says.
    """

    cell: Cell
    answer: Answer
    charge: Charge

    @property
    def outcome(self) -> str:
        """How the two compare: `unpriced_not_free` is a library's zero where the ledger knows no price."""
        theirs, ours = self.answer.cost_usd, self.charge.cost_usd
        if theirs is None:
            return NOT_COMPARABLE
        if ours is None:
            return UNPRICED if theirs else UNPRICED_NOT_FREE
        return AGREE if abs(theirs - ours) <= TOLERANCE * max(abs(theirs), abs(ours)) else OTHER_COST

    def __str__(self) -> str:
        cell = self.cell
        theirs = self.answer.cost_usd if self.answer.cost_usd is not None else self.answer.refusal
        ours = self.charge.cost_usd if self.charge.cost_usd is not None else self.charge.reason
        return (
            f"{self.outcome} in {cell.dimension}: {cell.provider} {cell.model}, {cell.service_tier}, {cell.at}, "
            f"{dict(cell.quantities)}: library {theirs}, ledger {ours}"
        )


@dataclass(frozen=True)
class KnownDifference:
    """A row of the table.

    Attributes:
        library: Whose calculator differs.
        version: The version that it was judged on.
        dimension: Pattern of the dimension.
        service_tier: Pattern of the service tier.
        provider: Pattern of the provider's name.
        model: Pattern of the model's name.
        outcome: How the two differ.
        cell_count: How many cells of the grid it explains.
        cause: Why they differ.
        right_side: Which of the two is right: `library`, `ledger` or `open`.
        evidence: What says so.
    """

    library: str
    version: str
    dimension: str
    service_tier: str
    provider: str
    model: str
    outcome: str
    cell_count: int
    cause: str
    right_side: str
    evidence: str

    def explains(self, judgement: Judgement) -> bool:
        """Whether a difference fits this row."""
        cell = judgement.cell
        return (
            self.outcome == judgement.outcome
            and fnmatchcase(cell.dimension, self.dimension)
            and fnmatchcase(cell.service_tier, self.service_tier)
            and fnmatchcase(cell.provider, self.provider)
            and fnmatchcase(cell.model, self.model)
        )


def compare(cells: Sequence[Cell], answers: Mapping[str, Answer], charges: Mapping[str, Charge]) -> list[Judgement]:
    """Lay a library's answers beside the ledger's charges; both hold every cell."""
    return [Judgement(cell, answers[cell.cell_id], charges[cell.cell_id]) for cell in cells]


def known_differences(library: str, path: Path = KNOWN_DIFFERENCES) -> list[KnownDifference]:
    """Read the rows of a library, in order."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [KnownDifference(**{**row, "cell_count": int(row["cell_count"])}) for row in csv.DictReader(file)]
    return [row for row in rows if row.library == library]


def complaints(judgements: Iterable[Judgement], known: Sequence[KnownDifference], version: str) -> list[str]:
    """Give what is wrong between what was found and what is known; empty when they are the same.

    A difference that no row explains, a row that explains nothing or another number of cells, and a row of another
    version of the library are each a complaint.
    """
    found: Counter[KnownDifference] = Counter()
    unknown: dict[tuple[str, str], list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        if judgement.outcome in {AGREE, NOT_COMPARABLE}:
            continue
        row = next((row for row in known if row.explains(judgement)), None)
        if row is None:
            unknown[judgement.cell.dimension, judgement.outcome].append(judgement)
        else:
            found[row] += 1
    said = [
        f"{len(items)} unknown differences, {outcome} in {dimension}, the first: {items[0]}"
        for (dimension, outcome), items in unknown.items()
    ]
    for row in known:
        if row.version != version:
            said.append(f"judged on {row.version}, compared with {version}: {row}")
        if found[row] != row.cell_count:
            said.append(f"explains {found[row]} cells, the table says {row.cell_count}: {row}")
    return said


def by_dimension(judgements: Iterable[Judgement]) -> dict[str, Counter[str]]:
    """Count the outcomes of each dimension."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for judgement in judgements:
        counts[judgement.cell.dimension][judgement.outcome] += 1
    return dict(counts)


def report(library: str, version: str, judgements: Sequence[Judgement]) -> list[str]:
    """Write the agreement of a library, one line per dimension and a last one of all."""
    counts = by_dimension(judgements)
    total: Counter[str] = sum(counts.values(), Counter())
    lines = [f"{library} {version}".ljust(28) + "".join(f"{outcome:>19}" for outcome in OUTCOMES)]
    for dimension, found in [*sorted(counts.items()), ("all", total)]:
        lines.append(f"  {dimension:<26}" + "".join(f"{found[outcome]:>19,}" for outcome in OUTCOMES))
    return lines
