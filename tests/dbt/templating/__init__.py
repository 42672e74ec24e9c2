"""What dbt gives to a model's Jinja, for sqlfluff, which renders the models without dbt.

sqlfluff loads the project's own macros (`load_macros_from_path`) and knows `ref`, `source`, `config` and `return`; the
rest that macros call is here, read from `dbt_project.yml` where that states it. Nothing here runs in the pipeline.
"""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jinja2 import Environment, pass_context
from jinja2.runtime import Context
from ruamel.yaml import YAML

PROJECT_FILE = Path(__file__).resolve().parents[3] / "dbt_project" / "dbt_project.yml"
# The pipeline passes these, so the project file leaves them empty; one of each result renders every branch.
EQUATIONS = [
    {
        "use_case_id": "support_chat",
        "result": result,
        "sql": "cast(kpi_resolved * 6.0 as decimal(28, 9))",
        "kpi_names": ["resolved"],
        "valid_from": "2026-01-01",
        "valid_to": "2027-01-01",
    }
    for result in ("money", "time")
]
_VARIABLES = {**YAML(typ="safe").load(PROJECT_FILE)["vars"], "value_equations": EQUATIONS}


def var(name: str) -> Any:  # noqa: ANN401 - whatever YAML holds
    """Give a project variable; dbt's `var`."""
    return _VARIABLES[name]


class _Adapter:
    """dbt's `adapter`, bound to DuckDB."""

    @staticmethod
    @pass_context
    def dispatch(context: Context, macro_name: str) -> Callable[..., str]:
        """Give DuckDB's own version of a macro, else the default one."""
        for prefix in ("duckdb", "default"):
            if f"{prefix}__{macro_name}" in context:
                macro: Callable[..., str] = context.resolve(f"{prefix}__{macro_name}")
                return macro
        msg = (
            f"Looked for {macro_name} among the macros; neither duckdb__{macro_name} nor default__{macro_name} is one."
        )
        raise LookupError(msg)


adapter = _Adapter()
modules = SimpleNamespace(datetime=dt)
target = SimpleNamespace(schema="main", type="duckdb")


def _keep_compiled() -> None:
    """Compile a text once: sqlfluff compiles every macro twice for every file, which is a third of its time."""
    compile_text = Environment.compile
    kept: dict[tuple[type, str], Any] = {}

    def compile_once(environment: Environment, source: Any, *more: Any, **named: Any) -> Any:  # noqa: ANN401
        if more or named or not isinstance(source, str):
            return compile_text(environment, source, *more, **named)
        key = (type(environment), source)
        if key not in kept:
            kept[key] = compile_text(environment, source)
        return kept[key]

    compile_once.keeps_compiled = True  # type: ignore[attr-defined]
    Environment.compile = compile_once  # type: ignore[method-assign]


# sqlfluff runs this file anew for every file that it renders.
if not hasattr(Environment.compile, "keeps_compiled"):
    _keep_compiled()
