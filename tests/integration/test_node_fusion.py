"""mesh.v1.Fusion over a real port, with fake classifiers behind it."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest

from mesh.classifying import EncoderVersion
from mesh.embedding import Embedding, Modality, write_embedding
from mesh.fusion_service import MAX_EXAMPLES
from mesh.v1 import embedding_pb2, fusion_pb2_grpc
from mesh.v1 import fusion_pb2 as pb
from tests.fake_models import PATIENCE, VERSION, FakeClassifier
from tests.running_node import RunningNode, fusion_load, running

TEXT, IMAGE, AUDIO = Modality
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
OLD = "sha256:" + "1" * 64


@pytest.fixture
def new() -> FakeClassifier:
    """The preferred head."""
    return FakeClassifier(name="new")


@pytest.fixture
def old() -> FakeClassifier:
    """A head of older encoders, which knows no sound."""
    encoders = {TEXT: EncoderVersion(OLD, 3), IMAGE: EncoderVersion(VERSION, 3)}
    return FakeClassifier(name="old", version=OLD, encoders=encoders)


@pytest.fixture
async def node(new: FakeClassifier, old: FakeClassifier) -> AsyncIterator[RunningNode]:
    """A node of both."""
    async with running(fusion_load(new, old)) as started:
        yield started
        new.gate.open()


def vector(
    modality: Modality, *numbers: float, version: str = VERSION, dtype: str = "float32"
) -> embedding_pb2.Embedding:
    """An embedding with these numbers, three ones unless told."""
    data = np.array(numbers or (1, 1, 1), dtype).tobytes()
    dim = len(numbers) or 3
    message = embedding_pb2.Embedding()
    write_embedding(Embedding(modality, version, dtype, dim, data), message)
    return message


async def classify(
    node: RunningNode, *examples: list[embedding_pb2.Embedding], version: str = ""
) -> list[tuple[str, float]]:
    """The name of the head that answered, and its probability of "many", for each example."""
    wire = [pb.Example(embeddings=embeddings) for embeddings in examples]
    request = pb.ClassifyRequest(examples=wire, version=version)
    stub = fusion_pb2_grpc.FusionStub(node.channel)
    answer = await stub.Classify(request, timeout=PATIENCE)
    return [
        (one.name, round({s.label: s.probability for s in one.scores}["many"], 4))
        for one in answer.classifications
    ]


async def refusal(
    node: RunningNode, *examples: list[embedding_pb2.Embedding], version: str = ""
) -> grpc.StatusCode:
    """The status of a call that is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await classify(node, *examples, version=version)
    return caught.value.code()


async def test_describe_names_every_head_and_what_it_was_trained_on(node: RunningNode) -> None:
    """Preferred first."""
    stub = fusion_pb2_grpc.FusionStub(node.channel)
    new, old = (await stub.Describe(pb.FusionDescribeRequest())).artifacts
    assert (new.name, list(new.labels)) == ("new", ["few", "many"])
    assert (old.name, old.version) == ("old", OLD)
    assert [(e.modality, e.version, e.dim) for e in old.encoders] == [
        (embedding_pb2.MODALITY_TEXT, OLD, 3),
        (embedding_pb2.MODALITY_IMAGE, VERSION, 3),
    ]


async def test_any_subset_of_modalities_is_classified_in_the_order_of_the_examples(
    node: RunningNode,
) -> None:
    """Each example by itself."""
    examples = [[vector(TEXT)], [vector(m) for m in Modality], [vector(AUDIO), vector(IMAGE)]]
    assert await classify(node, *examples) == [("new", 0.3), ("new", 0.9), ("new", 0.6)]


@pytest.mark.parametrize(("count", "computed"), [(1, 1), (3, 4), (5, 6), (6, 6)])
async def test_few_sizes_of_batch_are_computed(count: int, computed: int) -> None:
    """An engine keeps something for each. None is larger than MESH_MAX_BATCH."""
    head = FakeClassifier()
    async with running(fusion_load(head), max_batch=6) as node:
        examples = [[vector(TEXT)] for _ in range(count)]
        head.batches.clear()
        assert await classify(node, *examples) == [("fake", 0.3)] * count
    assert head.batches == [computed]


async def test_an_answer_tells_which_replica_it_is_from(node: RunningNode) -> None:
    """By the same number each time, for callers to count replicas."""
    stub = fusion_pb2_grpc.FusionStub(node.channel)
    request = pb.ClassifyRequest(examples=[pb.Example(embeddings=[vector(TEXT)])])
    answers = [await stub.Classify(request, timeout=PATIENCE) for _ in range(2)]
    assert answers[0].replica == answers[1].replica != 0


async def test_an_example_is_classified_by_the_head_of_its_versions(node: RunningNode) -> None:
    """Examples of both may share a call; where two heads would do, the preferred one answers."""
    examples = [
        [vector(TEXT)],
        [vector(TEXT, version=OLD), vector(IMAGE)],
        [vector(IMAGE)],
    ]
    assert await classify(node, *examples) == [("new", 0.3), ("old", 0.6), ("new", 0.3)]


async def test_the_head_that_is_asked_for_answers_all_examples(node: RunningNode) -> None:
    """Though the preferred one understands some of them too; or the call is refused."""
    both, image = [vector(TEXT, version=OLD), vector(IMAGE)], [vector(IMAGE)]
    assert [name for name, _ in await classify(node, both, image)] == ["old", "new"]
    assert [name for name, _ in await classify(node, both, image, version=OLD)] == ["old", "old"]
    assert await refusal(node, both, image, version=VERSION) is FAILED_PRECONDITION
    assert await refusal(node, image, version="gone") is FAILED_PRECONDITION


async def test_half_precision_is_understood(node: RunningNode) -> None:
    """Embeddings may travel as float16."""
    assert await classify(node, [vector(TEXT, 1, 2, 3, dtype="float16")]) == [("new", 0.3)]


@pytest.mark.parametrize(
    "example",
    [
        [vector(TEXT, version="sha256:unknown")],
        [vector(TEXT, version=OLD), vector(AUDIO)],
        [vector(TEXT, version=OLD), vector(IMAGE, version=OLD)],
    ],
)
async def test_versions_that_no_head_was_trained_on_are_refused(
    node: RunningNode, example: list[embedding_pb2.Embedding]
) -> None:
    """Also where each version alone is known, but to different heads."""
    assert await refusal(node, [vector(TEXT)], example) is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    "example",
    [
        [],
        [vector(TEXT), vector(TEXT)],
        [vector(TEXT, 1, 2)],
        [vector(TEXT, 1, float("nan"), 3)],
        [vector(TEXT, 1, float("inf"), 3)],
        [embedding_pb2.Embedding(modality="MODALITY_TEXT", version=VERSION, dim=3, data=b"x")],
        [embedding_pb2.Embedding(modality="MODALITY_UNSPECIFIED", version=VERSION)],
    ],
)
async def test_examples_that_no_gateway_sends_are_refused(
    node: RunningNode, example: list[embedding_pb2.Embedding]
) -> None:
    """None, two of one modality, a wrong dim, no numbers, or bytes that contradict the rest."""
    assert await refusal(node, example) is grpc.StatusCode.INVALID_ARGUMENT
    assert node.metric("mesh_items_total", outcome="INVALID") == 1


async def test_more_examples_than_allowed_are_refused(node: RunningNode) -> None:
    """As the caller's fault."""
    examples = [[vector(TEXT)]] * (MAX_EXAMPLES + 1)
    assert await refusal(node, *examples) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_model_that_gives_no_numbers_is_our_fault(node: RunningNode) -> None:
    """No answer is better than a wrong one."""
    assert await refusal(node, [vector(TEXT, 13, 1, 1)]) is grpc.StatusCode.INTERNAL


async def test_concurrent_calls_share_a_run_of_the_model(
    node: RunningNode, new: FakeClassifier
) -> None:
    """While it is busy with one, the others gather."""
    new.gate.shut()
    calls = [asyncio.create_task(classify(node, [vector(TEXT)]))]
    await new.gate.arrival()
    calls += [asyncio.create_task(classify(node, [vector(TEXT)])) for _ in range(10)]
    await node.classify_calls(11)
    new.gate.open()
    assert await asyncio.gather(*calls) == [[("new", 0.3)]] * 11
    assert new.batches == [1, 16]  # Of ten examples.
    assert node.metric("mesh_classify_calls_total") == 11
    assert node.metric("mesh_items_total", outcome="OK") == 11


async def test_a_full_queue_refuses_the_call(new: FakeClassifier) -> None:
    """With RESOURCE_EXHAUSTED, at once."""
    async with running(fusion_load(new), max_queue=1) as node:
        new.gate.shut()
        held = asyncio.create_task(classify(node, [vector(TEXT)]))
        await new.gate.arrival()
        assert await refusal(node, [vector(TEXT)]) is grpc.StatusCode.RESOURCE_EXHAUSTED
        new.gate.open()
        assert await held == [("new", 0.3)]


async def test_info_names_the_heads(node: RunningNode) -> None:
    """For people, on the ops port."""
    artifacts = (await node.ops.get("/info")).json()["artifacts"]
    assert [artifact["name"] for artifact in artifacts] == ["new", "old"]
    assert artifacts[1]["encoders"] == {"text": OLD, "image": VERSION}
