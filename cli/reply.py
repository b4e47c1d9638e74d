"""What a gateway says of a request, for those who asked by whatever client."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any


class PredictFailed(Exception):
    """No answer from the gateway, or one that refuses. The message is for people."""


def understood(url: str, status: int, body: bytes) -> dict[str, Any]:
    """The prediction that a server gave; PredictFailed where it is a refusal or no gateway's."""
    answer: Any = None
    with contextlib.suppress(ValueError):
        answer = json.loads(body)
    is_success = 200 <= status < 300
    expected = "prediction" if is_success else "title"
    if not isinstance(answer, dict) or expected not in answer:
        raise PredictFailed(f"{url} is no gateway: it answers {status}.")
    if not is_success:
        raise PredictFailed(_refusal(status, answer))
    return answer


def _refusal(status: int, problem: Mapping[str, Any]) -> str:
    """RFC 9457's problem, with the field that is to blame where the server names one."""
    lines = [f"{problem['title']} ({status})", str(problem.get("detail", ""))]
    if "field" in problem:
        lines.append(f"field: {problem['field']}")
    return "\n".join(filter(None, lines))
