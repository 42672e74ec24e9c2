"""What a run published, compared with what a clean run publishes."""

from typing import Any

from tests.integration.small_company import SmallCompany, differing_tables

_PUBLISHED = ("marts", "analytics")


def assert_as_published_by_a_clean_run(company: SmallCompany, clean: SmallCompany) -> None:
    """Compare every published table row by row, and every exported one byte by byte."""
    assert differing_tables(company.settings.serving_path, clean.settings.serving_path, _PUBLISHED) == {}
    assert _exported(company) == _exported(clean)


def _exported(company: SmallCompany) -> dict[str, Any]:
    """Rows of every exported table, by month and table."""
    files = sorted(company.settings.exports_dir.glob("2*/*.csv"))
    return {f"{path.parent.name}/{path.name}": path.read_text(encoding="utf-8") for path in files}
