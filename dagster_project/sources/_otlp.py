"""What OTLP spans may hold that is not stored: prompts and completions, and who the user is.

The names are those of OpenTelemetry's GenAI conventions, of OpenInference, and of emitters with names of their own.
"""

from functools import lru_cache

from dagster_project.sources._connector import hashed_user

USER_ATTRIBUTES = ("user.id", "enduser.id")
USER_PSEUDONYM_ATTRIBUTE = "tokenledger.user.pseudonym"

_USER_PREFIXES = ("user.", "enduser.")
_CONTENT_PREFIXES = (
    # OpenTelemetry GenAI, current and deprecated
    "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result", "gen_ai.tool.definitions", "gen_ai.prompt", "gen_ai.completion", "gen_ai.content",
    "gen_ai.retrieval.query", "gen_ai.retrieval.documents", "gen_ai.event.content",
    # OpenInference
    "input.value", "input.images", "input.documents", "output.value", "output.images", "output.documents",
    "llm.input_messages", "llm.output_messages", "llm.prompts", "llm.choices", "llm.tools", "llm.function_call",
    "llm.invocation_parameters", "llm.prompt_template.template", "llm.prompt_template.variables",
    "embedding.embeddings", "embedding.text", "embedding.vector", "retrieval.documents", "document.content",
    "document.metadata", "reranker.query", "reranker.input_documents", "reranker.output_documents", "tool.parameters",
    "tool.json_schema", "tool_call.function.arguments", "message.", "message_content.", "prompt.text",
    "completion.text",
    # other emitters
    "traceloop.entity.input", "traceloop.entity.output", "ai.prompt", "ai.response.text", "ai.response.object",
    "ai.response.toolCalls", "ai.response.reasoning", "ai.toolCall.args", "ai.toolCall.result", "ai.value",
    "ai.embedding", "langfuse.observation.input", "langfuse.observation.output", "langfuse.trace.input",
    "langfuse.trace.output", "mlflow.spanInputs", "mlflow.spanOutputs", "pydantic_ai.all_messages", "final_result",
    "all_messages_events", "events", "tool_arguments", "tool_response", "gcp.vertex.agent.llm_request",
    "gcp.vertex.agent.llm_response", "gcp.vertex.agent.tool_call_args", "gcp.vertex.agent.tool_response",
)  # fmt: skip
_NOT_CONTENT = frozenset({"gen_ai.prompt.name", "gen_ai.prompt.version"})


@lru_cache(maxsize=4096)
def is_content(name: str) -> bool:
    """Say whether an attribute holds what was said to a model or a tool, or by it."""
    return name.startswith(_CONTENT_PREFIXES) and name not in _NOT_CONTENT


@lru_cache(maxsize=4096)
def is_user(name: str) -> bool:
    """Say whether an attribute tells who the user is."""
    return name.startswith(_USER_PREFIXES)


def with_pseudonym(attributes: list[dict[str, object]], key: bytes | None) -> list[dict[str, object]]:
    """Put a pseudonym in the place of what tells who the user is.

    Args:
        attributes: Attributes in OTLP/JSON.
        key: The company's key; without one nothing takes the place.
    """
    kept = [item for item in attributes if not is_user(str(item["key"]))]
    if key is not None and len(kept) < len(attributes):
        texts = {item["key"]: next(iter(item["value"].values()), None) for item in attributes if item.get("value")}  # type: ignore[attr-defined]
        user = next((texts[name] for name in USER_ATTRIBUTES if texts.get(name)), None)
        if user is not None:
            kept.append({"key": USER_PSEUDONYM_ATTRIBUTE, "value": {"stringValue": hashed_user(str(user), key)}})
    return kept
