"""What can go wrong in the mesh. Each class carries the statuses that the wire shows for it.

    MeshError                     500  INTERNAL
    ├── InputError                     the caller's fault; names the field
    │   ├── MalformedInput        400  INVALID_ARGUMENT     not of the right form at all
    │   ├── InvalidInput          422  INVALID_ARGUMENT     of a known format, but broken or empty
    │   ├── TooLarge              413  INVALID_ARGUMENT     over a limit
    │   └── UnsupportedFormat     415  INVALID_ARGUMENT     of no format that we read
    ├── Overloaded                429  RESOURCE_EXHAUSTED   refused early, worth another try later
    ├── DeadlineExpired           504  DEADLINE_EXCEEDED    its time was over
    ├── VersionMismatch           503  FAILED_PRECONDITION  embeddings that no head was trained on
    └── Unavailable               503  UNAVAILABLE          a service that does not answer

gRPC statuses are given by name, so that models and preprocessing can raise these without any
transport installed. `code` is the name that an item's own error bears on the wire
(`mesh.v1.Code` without its prefix) and in the `error` of a failed modality.
"""

from typing import ClassVar


class MeshError(Exception):
    """Something failed inside the mesh, and it was not the caller's fault."""

    code: ClassVar[str] = "INTERNAL"
    http_status: ClassVar[int] = 500
    grpc_status: ClassVar[str] = "INTERNAL"
    title: ClassVar[str] = "Internal error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InputError(MeshError):
    """The caller sent something that we refuse. `field` names which, once somebody knows it."""

    grpc_status = "INVALID_ARGUMENT"

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class MalformedInput(InputError):
    """Not of the right form: broken JSON, a wrong type, a field that is unknown or not taken."""

    code = "INVALID"
    http_status = 400
    title = "Malformed request"


class InvalidInput(InputError):
    """Of a known format, but truncated, empty or out of range."""

    code = "INVALID"
    http_status = 422
    title = "Invalid input"


class TooLarge(InputError):
    """Over a limit of characters, bytes, pixels or seconds."""

    code = "TOO_LARGE"
    http_status = 413
    title = "Input too large"


class UnsupportedFormat(InputError):
    """Bytes of no format that is read here."""

    code = "UNSUPPORTED"
    http_status = 415
    title = "Unsupported format"


class Overloaded(MeshError):
    """Refused before any work was done, because a queue or a counter is full."""

    code = "OVERLOADED"
    http_status = 429
    grpc_status = "RESOURCE_EXHAUSTED"
    title = "Too many requests"


class DeadlineExpired(MeshError):
    """Its time was over before the answer was there."""

    code = "EXPIRED"
    http_status = 504
    grpc_status = "DEADLINE_EXCEEDED"
    title = "Deadline exceeded"


class VersionMismatch(MeshError):
    """An embedding of a version that no fusion head was trained on."""

    code = "WRONG_VERSION"
    http_status = 503
    grpc_status = "FAILED_PRECONDITION"
    title = "Version mismatch"


class Unavailable(MeshError):
    """A service that the answer needs does not answer."""

    code = "UNAVAILABLE"
    http_status = 503
    grpc_status = "UNAVAILABLE"
    title = "Service unavailable"
