"""Short forms of the expectations that the suites repeat.

Each function returns one `ExpectationSpec` with its rule written out. What is expected of which table, and
why, is said in `raw.py` and `serving.py`.
"""

from collections.abc import Collection, Sequence

from dagster_project.gates.expectations import ExpectationSpec
from dagster_project.gates.gate import Predicate, Severity

NEW_FIELDS = "fields"


def not_empty(*, why: str) -> ExpectationSpec:
    """The relation has rows."""
    return ExpectationSpec(
        expectation="ExpectTableRowCountToBeBetween",
        kwargs={"min_value": 1},
        predicate="not_empty",
        rule="There is at least one row.",
        why=why,
    )


def columns_present(columns: Sequence[str], *, why: str) -> ExpectationSpec:
    """The relation has these columns, whatever else it has."""
    return ExpectationSpec(
        expectation="ExpectTableColumnsToMatchSet",
        kwargs={"column_set": list(columns), "exact_match": False},
        aspect="columns",
        predicate="present",
        rule=f"The columns {', '.join(columns)} exist.",
        why=why,
    )


def present(column: str, *, why: str, severity: Severity = "block") -> ExpectationSpec:
    """A column is never null."""
    return ExpectationSpec(
        expectation="ExpectColumnValuesToNotBeNull",
        kwargs={"column": column},
        aspect=column,
        predicate="present",
        rule=f"{column} is never null.",
        why=why,
        severity=severity,
    )


def known(
    column: str,
    values: Sequence[object],
    *,
    why: str,
    severity: Severity = "block",
    tolerance_share: float = 0.0,
) -> ExpectationSpec:
    """A column, where it is not null, holds one of these values."""
    return ExpectationSpec(
        expectation="ExpectColumnValuesToBeInSet",
        kwargs={"column": column, "value_set": list(values)},
        aspect=column,
        predicate="known",
        rule=f"{column} is null or one of {', '.join(str(value) for value in values)}.",
        why=why,
        severity=severity,
        tolerance_share=tolerance_share,
    )


def within_range(
    column: str,
    *,
    why: str,
    min_value: float | None = None,
    max_value: float | None = None,
    severity: Severity = "block",
) -> ExpectationSpec:
    """A numeric column, where it is not null, lies within inclusive bounds."""
    bounds = [
        f"at least {min_value:g}" if min_value is not None else "",
        f"at most {max_value:g}" if max_value is not None else "",
    ]
    return ExpectationSpec(
        expectation="ExpectColumnValuesToBeBetween",
        kwargs={"column": column, "min_value": min_value, "max_value": max_value},
        aspect=column,
        predicate="within_range",
        rule=f"{column} is null or {' and '.join(bound for bound in bounds if bound)}.",
        why=why,
        severity=severity,
    )


def violations(
    condition: str, *, aspect: str, predicate: Predicate, rule: str, why: str, severity: Severity = "block"
) -> ExpectationSpec:
    """No row satisfies a condition, which must be false, not null, for a row that is right."""
    return ExpectationSpec(
        expectation="UnexpectedRowsExpectation",
        kwargs={"unexpected_rows_query": f"select * from {{batch}} where {condition}"},
        aspect=aspect,
        predicate=predicate,
        rule=rule,
        why=why,
        severity=severity,
    )


def unique(columns: Sequence[str], *, aspect: str, why: str) -> ExpectationSpec:
    """No two rows agree in all of these columns, nulls counting as equal; a violation is a repeated key."""
    key = ", ".join(columns)
    return ExpectationSpec(
        expectation="UnexpectedRowsExpectation",
        kwargs={
            "unexpected_rows_query": (
                f"select {key}, count(*) as row_count from {{batch}} group by {key} having count(*) > 1"
            )
        },
        aspect=aspect,
        predicate="unique",
        rule=f"No two rows have the same {key}.",
        why=why,
    )


def fields_known(names: Collection[str]) -> ExpectationSpec:
    """The members that `attributes_json` holds are among these; a violation is a name that is new."""
    known = ", ".join(f"'{name}'" for name in sorted(names)) or "''"
    return ExpectationSpec(
        expectation="UnexpectedRowsExpectation",
        kwargs={
            "unexpected_rows_query": (
                "select field, count(*) as row_count"
                " from (select unnest(json_keys(attributes_json)) as field from {batch}) as fields"
                f" where field not in ({known}) group by field"
            )
        },
        aspect=NEW_FIELDS,
        predicate="known",
        rule=f"attributes_json is null or has members of these names only: {', '.join(sorted(names)) or 'none'}.",
        why="A field that the format did not have may be a unit kind or an amount that nothing counts yet.",
        severity="warn",
    )
