"""One call of a gateway's POST /predict, wherever it is, as `sensemesh predict` makes it."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

import httpx

from cli.reply import PredictFailed, understood

# The server answers by its deadline; this much later, in seconds, it is taken to be gone.
GRACE: Final = 5.0
# The gateway's own default deadline may be raised to this by its settings.
LONGEST: Final = 60.0
LOCAL: Final = ("127.0.0.1", "localhost", "::1")


async def predict(
    url: str,
    fields: Mapping[str, str | tuple[str, bytes]],
    explain: bool = False,
    deadline: float | None = None,
) -> dict[str, Any]:
    """The gateway's answer to these fields: a str for text, a (file name, content) for media.

    `deadline` is in seconds, for the whole mesh; without one the gateway's own holds.
    """
    headers = {} if deadline is None else {"X-Request-Timeout": str(deadline)}
    limit = httpx.Timeout((LONGEST if deadline is None else deadline) + GRACE)
    parts = [(name, _part(value)) for name, value in fields.items()]
    query = "?explain=true" if explain else ""
    try:
        target = httpx.URL(f"{url.rstrip('/')}/predict{query}")
        # A proxy of the environment is for other machines.
        proxied = target.host not in LOCAL
        # Without TLS there is nothing to verify; the authorities' certificates take 20 ms to load.
        verified = proxied or target.scheme == "https"
        async with httpx.AsyncClient(
            timeout=limit, headers=headers, trust_env=proxied, verify=verified
        ) as client:
            response = await client.post(target, files=parts)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PredictFailed(_unreachable(url, error)) from error
    return understood(str(response.url), response.status_code, response.content)


def _part(value: str | tuple[str, bytes]) -> tuple[str | None, str | bytes]:
    # A part without a file name is a plain form field.
    return (None, value) if isinstance(value, str) else (PurePath(value[0]).name, value[1])


def _unreachable(url: str, error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"The gateway at {url} did not answer in time."
    reason = str(error) or type(error).__name__
    return f"No gateway answers at {url} ({reason}). Is `sensemesh up` running?"
