from mesh.v1 import embedding_pb2 as _embedding_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CODE_UNSPECIFIED: _ClassVar[Code]
    CODE_INVALID: _ClassVar[Code]
    CODE_TOO_LARGE: _ClassVar[Code]
    CODE_UNSUPPORTED: _ClassVar[Code]
    CODE_OVERLOADED: _ClassVar[Code]
    CODE_EXPIRED: _ClassVar[Code]
    CODE_INTERNAL: _ClassVar[Code]
CODE_UNSPECIFIED: Code
CODE_INVALID: Code
CODE_TOO_LARGE: Code
CODE_UNSUPPORTED: Code
CODE_OVERLOADED: Code
CODE_EXPIRED: Code
CODE_INTERNAL: Code

class EncoderDescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EncoderDescribeResponse(_message.Message):
    __slots__ = ("modality", "version", "dim", "limits", "batch_items")
    class LimitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    BATCH_ITEMS_FIELD_NUMBER: _ClassVar[int]
    modality: _embedding_pb2.Modality
    version: str
    dim: int
    limits: _containers.ScalarMap[str, float]
    batch_items: int
    def __init__(self, modality: _Optional[_Union[_embedding_pb2.Modality, str]] = ..., version: _Optional[str] = ..., dim: _Optional[int] = ..., limits: _Optional[_Mapping[str, float]] = ..., batch_items: _Optional[int] = ...) -> None: ...

class EncodeRequest(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("text", "media", "timeout", "request_id")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    text: str
    media: bytes
    timeout: float
    request_id: str
    def __init__(self, text: _Optional[str] = ..., media: _Optional[bytes] = ..., timeout: _Optional[float] = ..., request_id: _Optional[str] = ...) -> None: ...

class EncodeResponse(_message.Message):
    __slots__ = ("results", "replica")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[Result]
    replica: int
    def __init__(self, results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ..., replica: _Optional[int] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("embedding", "error")
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    embedding: _embedding_pb2.Embedding
    error: Error
    def __init__(self, embedding: _Optional[_Union[_embedding_pb2.Embedding, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: Code
    message: str
    def __init__(self, code: _Optional[_Union[Code, str]] = ..., message: _Optional[str] = ...) -> None: ...
