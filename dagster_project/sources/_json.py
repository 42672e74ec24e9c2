"""JSON whose numbers keep every digit, both ways."""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson

_INT64_LIMIT = 2**63
# Half of a pair, which is no character alone: text holds it by its escape only, bytes may hold it as such.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE_BYTES = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")


def exact(text: str | bytes) -> Any:  # noqa: ANN401 - JSON
    """Read JSON; a number with a point or beyond 64 bits is a Decimal, half of a pair of surrogates is U+FFFD.

    Raises:
        ValueError: it is no JSON, NaN and Infinity included.
    """
    value = json.loads(text, parse_float=Decimal, parse_int=_integer, parse_constant=_refuse)
    pattern: re.Pattern[Any] = _SURROGATE if isinstance(text, str) else _SURROGATE_BYTES
    return writable(value) if pattern.search(text) else value


def writable(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Put U+FFFD in the place of halves of pairs of surrogates, which no file or column can hold."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [writable(item) for item in value]
        case dict():
            return {writable(name): writable(item) for name, item in value.items()}
    return value


def canonical(value: object) -> bytes:
    """Write JSON on one line, members sorted, decimals as the numbers that they are: equal values, equal bytes."""
    return _dumped(value, _number, orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def readable(value: object) -> bytes:
    """Write any value as JSON for somebody to read; what JSON does not know becomes text."""
    return _dumped(value, str)


def _dumped(value: object, default: Callable[[Any], Any], option: int = 0) -> bytes:
    try:
        return orjson.dumps(value, default=default, option=option)
    except orjson.JSONEncodeError:
        return orjson.dumps(_writable(value), default=default, option=option)


def _writable(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Put what `orjson` refuses, whole numbers beyond 64 bits and halves of characters, into a form that it writes."""
    match value:
        case dict():
            return {_writable(str(name)): _writable(item) for name, item in value.items()}
        case list() | tuple():
            return [_writable(item) for item in value]
        case int() if abs(value) >= _INT64_LIMIT:
            return orjson.Fragment(str(value))
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
    return value


def member(content: object, path: str) -> Any:  # noqa: ANN401 - JSON
    """Give the member at a dotted path, `meta.totalPages`; None when a part of the path is absent."""
    for name in path.split("."):
        if not isinstance(content, dict):
            return None
        content = content.get(name)
    return content


def _integer(text: str) -> int | Decimal:
    value = int(text)
    return value if abs(value) < _INT64_LIMIT else Decimal(text)


def _refuse(word: str) -> None:
    msg = f"{word} is no JSON number"
    raise ValueError(msg)


def _number(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    msg = f"{type(value).__name__} has no form in JSON"
    raise TypeError(msg)
