"""What OTLP spans may hold that is not stored: prompts and completions, and who the user is.

The names are those of OpenTelemetry's GenAI conventions, of OpenInference, and of emitters with names of their own.
"""

import re
from functools import lru_cache
from typing import Any

from dagster_project.sources._connector import hashed_user

# The first of them that a span has is its user.
USER_ATTRIBUTES = (
    "user.id",
    "enduser.id",
    "langfuse.user.id",
    "traceloop.association.properties.user_id",
    "ai.telemetry.metadata.userId",
    "llm.user",
    "metadata.user_api_key_end_user_id",
    "metadata.user_api_key_user_id",
    "metadata.user_api_key_user_email",
)
USER_PSEUDONYM_ATTRIBUTE = "tokenledger.user.pseudonym"

_USER_PREFIXES = ("user.", "enduser.", "langfuse.user.", "metadata.requester_ip")
_USER_ID = re.compile(r"user(_?(id|email|name))?$", re.IGNORECASE)
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
    "llm.completions", "llm.request.functions", "traceloop.prompt.template", "request_data", "response_data",
    "metadata.mcp_tool_call_metadata", "metadata.vector_store_request_metadata", "metadata.requester_metadata",
    "metadata.requester_custom_headers", "error.message", "exception.message", "exception.stacktrace",
)  # fmt: skip
_CONTENT_NAMES = frozenset({"messages", "prompt", "completion", "input", "output", "question", "answer"})
_NOT_CONTENT = frozenset({"gen_ai.prompt.name", "gen_ai.prompt.version"})
# LiteLLM writes each parameter of a raw request, and each member of a raw response, as `llm.<provider>.<name>`.
_RAW_PARAMETER = re.compile(r"llm\.(?!(token_count|cost|usage|request|response|prompt_template)\.)[^.]+\..")


@lru_cache(maxsize=4096)
def is_content(name: str) -> bool:
    """Say whether an attribute holds what was said to a model or a tool, or by it."""
    if name in _NOT_CONTENT or is_user(name):
        return False
    return name.startswith(_CONTENT_PREFIXES) or name in _CONTENT_NAMES or _RAW_PARAMETER.match(name) is not None


@lru_cache(maxsize=4096)
def is_user_id(name: str) -> bool:
    """Say whether an attribute identifies the user: a known one, or one that is called so by its last part."""
    return name in USER_ATTRIBUTES or _USER_ID.search(name) is not None


@lru_cache(maxsize=4096)
def is_user(name: str) -> bool:
    """Say whether an attribute tells who the user is."""
    return name.startswith(_USER_PREFIXES) or is_user_id(name)


def user_of(value: Any) -> str | None:  # noqa: ANN401 - JSON
    """Give an attribute's value, in OTLP/JSON, as a user's identifier; None when it is none."""
    content = next(iter(value.values()), None) if isinstance(value, dict) else None
    return str(content) if isinstance(content, str | int) and content != "" else None


def with_pseudonym(attributes: list[dict[str, Any]], key: bytes | None) -> list[dict[str, Any]]:
    """Put a pseudonym in the place of what tells who the user is.

    Args:
        attributes: Attributes in OTLP/JSON.
        key: The company's key; without one nothing takes the place.
    """
    kept = [item for item in attributes if not is_user(item["key"])]
    if key is not None and len(kept) < len(attributes):
        users = {
            item["key"]: user
            for item in attributes
            if is_user_id(item["key"]) and (user := user_of(item.get("value"))) is not None
        }
        if users:
            user = next((users[name] for name in USER_ATTRIBUTES if name in users), list(users.values())[-1])
            kept.append({"key": USER_PSEUDONYM_ATTRIBUTE, "value": {"stringValue": hashed_user(user, key)}})
    return kept
