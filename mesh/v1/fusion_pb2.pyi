from mesh.v1 import embedding_pb2 as _embedding_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FusionDescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FusionDescribeResponse(_message.Message):
    __slots__ = ("artifacts",)
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    artifacts: _containers.RepeatedCompositeFieldContainer[FusionArtifact]
    def __init__(self, artifacts: _Optional[_Iterable[_Union[FusionArtifact, _Mapping]]] = ...) -> None: ...

class FusionArtifact(_message.Message):
    __slots__ = ("name", "version", "labels", "encoders")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ENCODERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    encoders: _containers.RepeatedCompositeFieldContainer[TrainedOn]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., encoders: _Optional[_Iterable[_Union[TrainedOn, _Mapping]]] = ...) -> None: ...

class TrainedOn(_message.Message):
    __slots__ = ("modality", "version", "dim")
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    modality: _embedding_pb2.Modality
    version: str
    dim: int
    def __init__(self, modality: _Optional[_Union[_embedding_pb2.Modality, str]] = ..., version: _Optional[str] = ..., dim: _Optional[int] = ...) -> None: ...

class ClassifyRequest(_message.Message):
    __slots__ = ("examples", "version")
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    examples: _containers.RepeatedCompositeFieldContainer[Example]
    version: str
    def __init__(self, examples: _Optional[_Iterable[_Union[Example, _Mapping]]] = ..., version: _Optional[str] = ...) -> None: ...

class Example(_message.Message):
    __slots__ = ("embeddings", "request_id")
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    embeddings: _containers.RepeatedCompositeFieldContainer[_embedding_pb2.Embedding]
    request_id: str
    def __init__(self, embeddings: _Optional[_Iterable[_Union[_embedding_pb2.Embedding, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("classifications", "replica")
    CLASSIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    classifications: _containers.RepeatedCompositeFieldContainer[Classification]
    replica: int
    def __init__(self, classifications: _Optional[_Iterable[_Union[Classification, _Mapping]]] = ..., replica: _Optional[int] = ...) -> None: ...

class Classification(_message.Message):
    __slots__ = ("name", "version", "scores")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    scores: _containers.RepeatedCompositeFieldContainer[Score]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., scores: _Optional[_Iterable[_Union[Score, _Mapping]]] = ...) -> None: ...

class Score(_message.Message):
    __slots__ = ("label", "probability")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    label: str
    probability: float
    def __init__(self, label: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...
