"""Progress: every step is timed, counted and passed on, also one that fails."""

import pytest

from dagster_project.progress import Progress, Step


def test_step_is_announced_counted_and_kept():
    said: list[str] = []
    progress = Progress(
        on_start=lambda step: said.append(f"+{step.name}"), on_end=lambda step: said.append(f"-{step.name}")
    )
    with progress.step("raw", "calls") as step:
        step.rows = 7
        step.rejected = 1
    with progress.step("raw", "scores"):
        pass
    assert said == ["+calls", "-calls", "+scores", "-scores"]
    assert [(item.stage, item.name, item.rows, item.rejected) for item in progress.steps] == [
        ("raw", "calls", 7, 1),
        ("raw", "scores", None, 0),
    ]
    assert progress.steps[0].seconds > 0


def test_step_that_fails_is_reported_and_the_error_goes_on():
    ended: list[Step] = []
    with pytest.raises(ValueError, match="broken"), Progress(on_end=ended.append).step("raw", "calls"):
        raise ValueError("broken")
    assert [step.name for step in ended] == ["calls"]
