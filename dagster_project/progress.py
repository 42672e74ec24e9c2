"""Progress of a run, as it happens: stage, what was done, rows, seconds.

A run reports here; where the lines go (the terminal of the command line, nowhere under the Dagster daemon, whose
UI shows the same as metadata) is decided by whoever starts it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Step:
    """One piece of work in progress; the worker fills in the counts.

    Attributes:
        stage: Stage of the house.
        name: What is being done.
        rows: Rows that came out; None where rows are no measure.
        rejected: Rows rejected on the way.
        seconds: Wall time, set when the step ends.
    """

    stage: str
    name: str
    rows: int | None = None
    rejected: int = 0
    seconds: float = 0.0


@dataclass
class Progress:
    """Collects the steps of a run and passes each on as it begins and ends.

    Attributes:
        on_start: Called when a step begins.
        on_end: Called when a step ends, successfully or not.
        steps: Every ended step, in order.
    """

    on_start: Callable[[Step], None] = lambda _: None
    on_end: Callable[[Step], None] = lambda _: None
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, stage: str, name: str) -> Iterator[Step]:
        """Time a piece of work."""
        step = Step(stage, name)
        started = time.perf_counter()
        self.on_start(step)
        try:
            yield step
        finally:
            step.seconds = time.perf_counter() - started
            self.steps.append(step)
            self.on_end(step)
