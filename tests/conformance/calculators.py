"""Price a grid by a library's own calculator: `python calculators.py <library> <grid> <results> [repeats]`.

Runs as a program in the interpreter that has the library, so it imports nothing of the project. A result line is the
cell's id with the library's total cost in USD, or with the reason why the library gives none. With repeats, what is
priced is priced that many times more by the warm calculator, and one more line holds its calls and seconds.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

Calculator = Callable[[], Decimal]
Preparer = Callable[[Mapping[str, Any]], Calculator]

_INPUT_KINDS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "input_audio", "input_image", "embedding")
_OUTPUT_KINDS = ("output", "reasoning", "output_audio")


def _totals(quantities: Mapping[str, int]) -> tuple[int, int]:
    """Bring disjoint kinds to the inclusive totals that both libraries take."""
    return (
        sum(quantities.get(kind, 0) for kind in _INPUT_KINDS),
        sum(quantities.get(kind, 0) for kind in _OUTPUT_KINDS),
    )


def genai_prices_calculator() -> Preparer:
    """Give the public `calc_price` of genai-prices on a usage of its own class.

    A model that the package does not find by its own id is asked itself, without the search for its name.
    """
    import genai_prices  # noqa: PLC0415
    from genai_prices.data import providers  # noqa: PLC0415

    models = {(provider.id, model.id): (provider, model) for provider in providers for model in provider.models}

    names = {
        "cache_read": "cache_read_tokens",
        "cache_write_5m": "cache_write_5m_tokens",
        "cache_write_1h": "cache_write_1h_tokens",
        "reasoning": "output_reasoning_tokens",
        "input_audio": "input_audio_tokens",
        "output_audio": "output_audio_tokens",
        "input_image": "input_image_tokens",
        "web_search": "web_searches",
    }

    def prepare(cell: Mapping[str, Any]) -> Calculator:
        quantities = cell["quantities"]
        counts = {names[kind]: count for kind, count in quantities.items() if kind in names}
        counts["input_tokens"], counts["output_tokens"] = _totals(quantities)
        written = quantities.get("cache_write_5m", 0) + quantities.get("cache_write_1h", 0)
        if written:
            counts["cache_write_tokens"] = written
        usage = genai_prices.Usage(**counts)
        at = datetime.fromisoformat(cell["at"])

        known = {"genai_request_timestamp": at, "price_context": cell["context"] or None}

        def price() -> Decimal:
            try:
                return genai_prices.calc_price(usage, cell["model"], provider_id=cell["provider"], **known).total_price
            except LookupError:
                provider, model = models[cell["provider"], cell["model"]]
                return model.calc_price(usage, provider, **known).total_price

        return price

    return prepare


def litellm_calculator() -> Preparer:
    """Give litellm's `cost_per_token` on its own `Usage`, at the call's instant; nothing reaches the network."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm  # noqa: PLC0415
    from litellm._internal_context import pinned_billing_time  # noqa: PLC0415
    from litellm.types import utils as types  # noqa: PLC0415

    litellm.telemetry = False
    litellm.suppress_debug_info = True

    def prepare(cell: Mapping[str, Any]) -> Calculator:
        quantities = cell["quantities"]
        whole_input, whole_output = _totals(quantities)
        written = {key: quantities.get(f"cache_write_{key}", 0) for key in ("5m", "1h")}
        usage = types.Usage(
            prompt_tokens=whole_input,
            completion_tokens=whole_output,
            total_tokens=whole_input + whole_output,
            prompt_tokens_details=types.PromptTokensDetailsWrapper(
                text_tokens=quantities.get("input", 0) + quantities.get("embedding", 0),
                cached_tokens=quantities.get("cache_read", 0),
                cache_creation_tokens=sum(written.values()),
                cache_creation_token_details=types.CacheCreationTokenDetails(
                    ephemeral_5m_input_tokens=written["5m"], ephemeral_1h_input_tokens=written["1h"]
                ),
                audio_tokens=quantities.get("input_audio", 0),
                image_tokens=quantities.get("input_image", 0),
            ),
            completion_tokens_details=types.CompletionTokensDetailsWrapper(
                text_tokens=quantities.get("output", 0),
                reasoning_tokens=quantities.get("reasoning", 0),
                audio_tokens=quantities.get("output_audio", 0),
            ),
        )
        context = cell["context"]
        tier = context.get("service_tier")
        for name in ("inference_geo", "speed"):
            if name in context:
                setattr(usage, name, context[name])
        is_embedding = "embedding" in quantities
        usual_type = "retrieve_batch" if tier == "batch" else "embedding" if is_embedding else "completion"
        at = datetime.fromisoformat(cell["at"])

        def price() -> Decimal:
            with pinned_billing_time(at):
                costs = litellm.cost_per_token(
                    model=cell["model"],
                    custom_llm_provider=_litellm_provider(cell["provider"]),
                    prompt_tokens=whole_input,
                    completion_tokens=whole_output,
                    usage_object=usage,
                    service_tier=None if tier == "batch" else tier,
                    call_type=context.get("call_type", usual_type),
                    rerank_billed_units={"search_units": 1},
                    data_residency=context.get("data_residency"),
                    vertex_location=context.get("vertex_location"),
                )
            return Decimal(repr(sum(costs)))

        return price

    return prepare


def _litellm_provider(name: str) -> str:
    """Bring the price file's family of a provider to the provider that requests name."""
    if name.startswith("vertex_ai"):
        return "vertex_ai"
    return "bedrock" if name == "bedrock_converse" else name


_LIBRARIES = {"genai_prices": genai_prices_calculator, "litellm": litellm_calculator}


def refuse_network(event: str, _: tuple[Any, ...]) -> None:
    """Audit hook: a calculator that looks up a host or connects to one fails."""
    if event in {"socket.connect", "socket.getaddrinfo"}:
        raise RuntimeError(f"a calculator tried the network: {event}")


def main(library: str, grid: str, results: str, repeats: str = "0") -> None:
    """Price every cell and write the results."""
    sys.addaudithook(refuse_network)
    prepare = _LIBRARIES[library]()
    cells = [json.loads(line) for line in Path(grid).read_text(encoding="utf-8").splitlines()]
    calculators = [prepare(cell) for cell in cells]
    lines: list[dict[str, Any]] = []
    for cell, calculate in zip(cells, calculators, strict=True):
        try:
            lines.append({"cell_id": cell["cell_id"], "cost_usd": str(calculate())})
        except Exception as error:  # noqa: BLE001 - litellm raises bare exceptions for what it cannot price
            lines.append({"cell_id": cell["cell_id"], "refusal": f"{type(error).__name__}: {error}"[:200]})
    if int(repeats):
        lines.append(_timed(lines, calculators, int(repeats)))
    Path(results).write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def _timed(lines: Sequence[Mapping[str, Any]], calculators: Sequence[Calculator], repeats: int) -> dict[str, Any]:
    priced = [calculate for calculate, line in zip(calculators, lines, strict=True) if "cost_usd" in line]
    started = time.perf_counter()
    for _ in range(repeats):
        for calculate in priced:
            calculate()
    return {"call_count": len(priced) * repeats, "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    main(*sys.argv[1:])
