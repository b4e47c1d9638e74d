"""What `POST /predict` takes and answers: options, inputs and their limits, the answer's shape."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import orjson
from werkzeug.datastructures import MultiDict
from werkzeug.http import parse_options_header

from gateway.answers import top
from gateway.contract import STAGES, ModalityReport, Prediction
from gateway.fields import shown
from gateway.json_form import read_json
from gateway.multipart import read_multipart
from mesh.embedding import Modality
from mesh.errors import InvalidInput, MalformedInput, MeshError, TooLarge, UnsupportedFormat
from mesh.settings import GatewaySettings, InputLimits

TIMEOUT_HEADER: Final = "X-Request-Timeout"
# The same, as WSGI has it.
TIMEOUT_VARIABLE: Final = "HTTP_X_REQUEST_TIMEOUT"

Inputs = dict[Modality, str | bytes]
Reader = Callable[[bytes, Mapping[str, str], InputLimits], Inputs]

_READERS: Final[Mapping[str, Reader]] = {
    "multipart/form-data": read_multipart,
    "application/json": read_json,
}
# The stages of a request that were not needed.
_NO_TIMES: Final = dict.fromkeys(STAGES, 0.0)
_EXPLAIN: Final = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller asks for beside the inputs. `timeout` is in seconds."""

    timeout: float
    explain: bool


def read_options(
    query: MultiDict[str, str], timeout: str | None, settings: GatewaySettings
) -> Options:
    """The options of one request, `timeout` being its header. Raises MalformedInput."""
    for name in query:
        if name != "explain":
            raise MalformedInput("unknown query parameter; there is explain", shown(name))
    explain = _explain(query.getlist("explain")) if query else False
    return Options(_timeout(timeout, settings), explain)


def _explain(values: list[str]) -> bool:
    if len(values) > 1 or values[0] not in _EXPLAIN:
        raise MalformedInput("explain has to be true or false, once", "explain")
    return _EXPLAIN[values[0]]


def _timeout(value: str | None, settings: GatewaySettings) -> float:
    if value is None:
        return min(settings.timeout, settings.timeout_max)
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    # A NaN is refused too: it compares with nothing.
    if "_" in value or not 0 < seconds <= settings.timeout_max:
        raise MalformedInput(
            f"{TIMEOUT_HEADER} has to be seconds, above 0 and at most {settings.timeout_max:g}",
            TIMEOUT_HEADER,
        )
    return seconds


def find_reader(
    content_type: str, content_encoding: str, limits: InputLimits
) -> Callable[[bytes], Inputs]:
    """The function that reads such a body. Raises UnsupportedFormat."""
    media_type, options = parse_options_header(content_type)
    if media_type.lower() not in _READERS:
        raise UnsupportedFormat(f"the body has to be {' or '.join(_READERS)}", "Content-Type")
    if content_encoding.lower() not in ("", "identity"):
        raise UnsupportedFormat("the body has to be sent as it is", "Content-Encoding")
    reader = _READERS[media_type.lower()]
    return lambda body: reader(body, options, limits)


def check_inputs(inputs: Inputs, limits: InputLimits) -> Inputs:
    """The inputs that count, within the limits: text of white space alone is none.

    Raises TooLarge, InvalidInput for an empty file, MalformedInput where nothing is left.
    """
    most = {
        Modality.TEXT: (limits.max_text_chars, "characters"),
        Modality.IMAGE: (limits.max_image_bytes, "bytes"),
        Modality.AUDIO: (limits.max_audio_bytes, "bytes"),
    }
    for modality, value in inputs.items():
        limit, unit = most[modality]
        if len(value) > limit:
            raise TooLarge(f"{modality} may have {limit} {unit}, not {len(value)}", modality)
    present = {modality: value for modality, value in inputs.items() if not _is_blank(value)}
    for modality, value in present.items():
        if not value:
            raise InvalidInput(f"{modality} is empty", modality)
    if not present:
        raise MalformedInput(f"nothing was sent; send {', '.join(Modality)}, or some of them")
    return present


def _is_blank(value: str | bytes) -> bool:
    return isinstance(value, str) and not value.strip()


def written(prediction: Prediction, *, explain: bool) -> bytes:
    """The body of a 200 up to what each request has of its own, which `signed` adds.

    MeshError where one of the numbers is none, for which JSON has no word.
    """
    _require_numbers(prediction)
    labels = list(prediction.probabilities)
    label = top(prediction.probabilities)
    members = {
        "prediction": label,
        "index": labels.index(label),
        "probability": prediction.probabilities[label],
        "probabilities": dict(prediction.probabilities),
        "modalities": {
            modality.value: _report(report, explain=explain)
            for modality, report in prediction.modalities.items()
        },
        "degraded": prediction.degraded,
        "model": {"name": prediction.model_name, "version": prediction.model_version},
    }
    return orjson.dumps(members)[:-1]


def signed(
    beginning: bytes, timing_ms: Mapping[str, float], request_id: str, seconds: float
) -> bytes:
    """The whole body, from what `written` gave; `seconds` is how long the whole request took."""
    times = {"total": round(1000 * seconds, 3), **_NO_TIMES, **timing_ms}
    end = orjson.dumps({"timing_ms": times, "request_id": request_id})
    return b"%b,%b\n" % (beginning, end[1:])


def _require_numbers(prediction: Prediction) -> None:
    reports = prediction.modalities.values()
    # A sum is finite only where each of its terms is.
    total = sum(prediction.probabilities.values()) + sum(r.contribution or 0.0 for r in reports)
    if not isfinite(total):
        raise MeshError("the answer holds numbers that are not finite")


def _report(report: ModalityReport, *, explain: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"status": report.status}
    if report.truncated:
        shown["truncated"] = True
    if report.error:
        shown["error"] = {"code": report.error.code, "message": report.error.message}
    if explain and report.status in ("cached", "computed"):
        shown["contribution"] = report.contribution
    return shown
