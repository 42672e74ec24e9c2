"""The demo company's feeds as an asset, present only when the configuration asks for the demo company."""

import dagster as dg

from dagster_project.demo.novaspark import generate
from dagster_project.progress import Progress
from dagster_project.settings import Settings
from dagster_project.warehouse.raw_assets import DEMO_FEEDS


def demo_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Build the asset that makes the feeds; none without a demo company."""
    demo = settings.demo
    if demo is None:
        return []

    @dg.asset(
        name=DEMO_FEEDS,
        group_name="demo",
        kinds={"python"},
        description="The feeds of NovaSpark, the demo company: usage, bills, reports, contracts and KPIs of 90 days.",
    )
    def make_feeds(progress: dg.ResourceParam[Progress]) -> dg.MaterializeResult:
        with progress.step("demo", DEMO_FEEDS) as step:
            generate(
                settings.feeds_dir, seed=demo.seed, calls=demo.calls, days=demo.days, start_date=settings.start_date
            )
            step.rows = demo.calls
        return dg.MaterializeResult(metadata={"path": dg.MetadataValue.path(str(settings.feeds_dir))})

    return [make_feeds]
