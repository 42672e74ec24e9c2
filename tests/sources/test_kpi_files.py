"""KPI scores: numbers, true/false, text, provenance."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from dagster_project.sources.kpi_files import KpiFilesOptions
from tests.sources.pulling import FIXTURES, Pulled, pull

COLUMNS = {
    "scored_at": "at",
    "kpi_name": "metric",
    "score": "value",
    "score_text": "words",
    "use_case_instance_id": "session",
    "provenance": "how",
}


@pytest.fixture
def scores(tmp_path: Path) -> Pulled:
    path = str(FIXTURES / "kpis" / "scores.csv")
    constants = {"use_case_id": "support"}
    return pull(tmp_path, "kpi_files", path=path, format="csv", columns=COLUMNS, constants=constants)


def test_kpi_files_reads_numbers_truth_and_text(scores: Pulled):
    found = [(row["kpi_name"], row["score"], row["score_text"]) for row in scores.rows()]
    assert found == [("csat", 4.0, None), ("resolved", 1.0, None), ("mood", None, "delighted")]


def test_kpi_files_fills_provenance_and_constants(scores: Pulled):
    assert [row["provenance"] for row in scores.rows()] == ["self_reported", "measured", "measured"]
    assert {row["use_case_id"] for row in scores.rows()} == {"support"}


def test_kpi_files_rejects_scores_that_say_nothing(scores: Pulled):
    assert scores.landing.rows_read == 8
    assert scores.reasons() == {
        3: "value_missing",
        4: "value_unparsable",
        5: "value_unknown",
        6: "value_missing",
        7: "value_missing",
    }


def test_kpi_files_of_a_day_have_no_instance(tmp_path: Path):
    (tmp_path / "k.jsonl").write_text('{"at": "2026-07-01", "metric": "tickets", "value": 12}\n', encoding="utf-8")
    columns = {"scored_at": "at", "kpi_name": "metric", "score": "value"}
    [row] = pull(tmp_path, "kpi_files", path=str(tmp_path / "k.jsonl"), format="jsonl", columns=columns).rows()
    assert (row["score"], row["use_case_instance_id"]) == (12.0, None)


def test_kpi_files_refuses_an_unknown_provenance():
    with pytest.raises(ValidationError, match="unknown provenance; known: measured"):
        KpiFilesOptions.model_validate(
            {
                "name": "k",
                "kind": "kpi_files",
                "path": "x.csv",
                "format": "csv",
                "columns": COLUMNS,
                "constants": {"provenance": "guessed"},
            }
        )


def test_kpi_files_rejects_a_score_that_is_too_large_alone(tmp_path: Path):
    # 17 July 2026 in milliseconds since 1970; a score has 12 digits before the point.
    values = ["1784246400000", "-1e12", "999999999999", "4"]
    lines = "".join(f"2026-07-01,tickets,{value}\n" for value in values)
    (tmp_path / "k.csv").write_text("at,metric,value\n" + lines, encoding="utf-8")
    columns = {"scored_at": "at", "kpi_name": "metric", "score": "value"}
    pulled = pull(tmp_path, "kpi_files", path=str(tmp_path / "k.csv"), format="csv", columns=columns)
    assert pulled.reasons() == {0: "value_unparsable", 1: "value_unparsable"}
    assert pulled.rejects()[0]["reason"] == "score: 'value' is 1e+12 or more"
    assert [row["score"] for row in pulled.rows()] == [999999999999.0, 4.0]
