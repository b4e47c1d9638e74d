"""What a whole mesh answers: the class, what it rests on, and what it says of itself."""

from itertools import combinations

import pytest

from cli.topology import ENCODERS, NODES
from tests.e2e.asking import answered, as_json, everything, predict, refused, statuses
from tests.e2e.inputs import AUDIO, IMAGE, TEXT, new_text
from tests.e2e.member import http
from tests.e2e.mesh import Mesh

SAMPLES = {"text": TEXT, "image": IMAGE, "audio": AUDIO}
SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(SAMPLES, size)]
# Any Unicode is text: scripts, marks of right-to-left, a zero, a family joined by joiners.
WORDS = ["", "дом", "דירה", "สวัสดี", "a\u0300", "\u202eabc", "\x00", "👩‍👩‍👧‍👦", "x" * 9000]


def test_the_samples_are_glad(mesh: Mesh) -> None:
    """A glad sentence, a smile and a lively voice together are joy, and nothing is degraded."""
    answer = answered(predict(mesh.url, SAMPLES))
    assert answer["prediction"] == "joy"
    assert answer["degraded"] is False


@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
def test_any_subset_of_modalities_is_answered(mesh: Mesh, subset: tuple[str, ...]) -> None:
    """What was sent is encoded, what was not is absent, and the probabilities are whole."""
    sent = {name: value for name, value in everything().items() if name in subset}
    answer = answered(predict(mesh.url, sent))
    expected = {name: "computed" if name in subset else "absent" for name in SAMPLES}
    assert statuses(answer) == expected
    assert answer["degraded"] is False
    probabilities = answer["probabilities"]
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert answer["probability"] == max(probabilities.values())
    assert answer["probability"] == probabilities[answer["prediction"]]
    assert list(probabilities)[answer["index"]] == answer["prediction"]


def test_the_answer_names_the_model_that_gave_it(mesh: Mesh) -> None:
    """Name, version and labels in an answer are those that /v1/model tells of fusion."""
    answer = answered(predict(mesh.url, everything()))
    model = http.get(f"{mesh.url}/v1/model").json()["models"][0]
    assert answer["model"] == {"name": model["name"], "version": model["version"]}
    assert list(answer["probabilities"]) == model["labels"]
    assert answer["model"]["name"] == "emotion6"


def test_each_stage_is_timed(mesh: Mesh) -> None:
    """The stages of a request take some of its time, and all together not more than it."""
    timing = answered(predict(mesh.url, everything()))["timing_ms"]
    assert set(timing) == {"total", "cache", "encode", "fuse"}
    assert timing["encode"] > 0
    assert timing["fuse"] > 0
    assert timing["total"] >= timing["cache"] + timing["encode"] + timing["fuse"] - 1


def test_json_and_multipart_are_the_same_request(mesh: Mesh) -> None:
    """What was answered to multipart is cached for the same inputs in JSON, also as a data: URI."""
    sent = everything()
    answer = answered(predict(mesh.url, sent))
    encoded = as_json(sent)
    encoded["image"] = f"data:image/png;base64,{encoded['image']}"
    again = answered(http.post(f"{mesh.url}/predict", json=encoded))
    assert statuses(again) == dict.fromkeys(SAMPLES, "cached")
    assert again["probabilities"] == answer["probabilities"]


def test_an_embedding_is_cached_for_other_combinations(mesh: Mesh) -> None:
    """A picture that was seen alone is not encoded again beside a new text."""
    sent = everything()
    answered(predict(mesh.url, {"image": sent["image"]}))
    answer = answered(predict(mesh.url, sent))
    assert statuses(answer) == {"text": "computed", "image": "cached", "audio": "computed"}


def test_text_counts_as_the_same_in_every_normal_form(mesh: Mesh) -> None:
    """A letter with its accent apart is the letter with its accent."""
    text = new_text()
    answered(predict(mesh.url, {"text": f"{text} caf\u00e9"}))
    answer = answered(predict(mesh.url, {"text": f"{text} cafe\u0301"}))
    assert statuses(answer)["text"] == "cached"


@pytest.mark.parametrize("word", WORDS, ids=range(len(WORDS)))
def test_any_unicode_is_text(mesh: Mesh, word: str) -> None:
    """Text of any script, with control characters or without letters, is encoded."""
    answer = answered(http.post(f"{mesh.url}/predict", json={"text": f"{word} {new_text()}"}))
    assert statuses(answer)["text"] == "computed"


def test_white_space_counts_as_absent(mesh: Mesh) -> None:
    """Text of white space alone beside a picture is as if it was not sent."""
    sent = {"text": " \t\n\u2003", "image": everything()["image"]}
    assert statuses(answered(predict(mesh.url, sent))) == {
        "text": "absent",
        "image": "computed",
        "audio": "absent",
    }


def test_a_cut_input_is_said_to_be_cut(mesh: Mesh) -> None:
    """A text beyond the encoder's tokens is answered as truncated, and from the cache too."""
    text = new_text() + " and again" * 400
    first, second = (answered(predict(mesh.url, {"text": text})) for _ in range(2))
    assert first["modalities"]["text"] == {"status": "computed", "truncated": True}
    assert second["modalities"]["text"] == {"status": "cached", "truncated": True}
    assert "truncated" not in answered(predict(mesh.url, {"text": TEXT}))["modalities"]["text"]


def test_an_explanation_says_what_each_modality_adds(mesh: Mesh) -> None:
    """A contribution is what the class loses without it; the embeddings come from the cache."""
    sent = everything()
    plain = answered(predict(mesh.url, sent))
    answer = answered(predict(mesh.url, sent, explain=True))
    assert statuses(answer) == dict.fromkeys(SAMPLES, "cached")
    label = plain["prediction"]
    for name in SAMPLES:
        rest = {key: value for key, value in sent.items() if key != name}
        without = answered(predict(mesh.url, rest))["probabilities"][label]
        contribution = answer["modalities"][name]["contribution"]
        assert contribution == pytest.approx(plain["probability"] - without, abs=1e-4)
    assert all("contribution" not in report for report in plain["modalities"].values())


def test_the_only_modality_has_no_contribution(mesh: Mesh) -> None:
    """Nothing is left to compare with, so it is null."""
    answer = answered(predict(mesh.url, {"text": new_text()}, explain=True))
    assert answer["modalities"]["text"] == {"status": "computed", "contribution": None}
    assert answer["modalities"]["image"] == {"status": "absent"}


def test_the_callers_request_id_comes_back(mesh: Mesh) -> None:
    """In the header and in the body; without one the gateway makes it."""
    response = predict(mesh.url, {"text": new_text()}, request_id="chosen-by-the-caller")
    assert answered(response)["request_id"] == "chosen-by-the-caller"
    assert response.headers["X-Request-Id"] == "chosen-by-the-caller"
    other = predict(mesh.url, {"text": new_text()})
    assert answered(other)["request_id"] == other.headers["X-Request-Id"] != ""


def test_probes_say_that_all_is_well(mesh: Mesh) -> None:
    """Every process is alive and ready, and says what it is."""
    for name in ("gateway", *NODES):
        assert http.get(f"{mesh[name].url}/healthz").status_code == 200
        assert http.get(f"{mesh[name].url}/readyz").status_code == 200
    versions = {name: http.get(f"{mesh[name].url}/info").json()["version"] for name in ENCODERS}
    model = http.get(f"{mesh.url}/v1/model").json()
    assert set(versions.values()) == {one["version"] for one in model["encoders"].values()}
    assert set(versions.values()) == set(model["models"][0]["encoders"].values())


def test_answers_are_counted_by_status(mesh: Mesh) -> None:
    """mesh_requests_total knows one more 200, and one more 400."""
    before = mesh["gateway"].metrics()
    answered(predict(mesh.url, {"text": new_text()}))
    refused(predict(mesh.url, {"smell": "roses"}), 400)
    after = mesh["gateway"].metrics()
    for code in ("200", "400"):
        counted = after.value("mesh_requests_total", code=code)
        assert counted - before.value("mesh_requests_total", code=code) == 1


def test_other_paths_and_methods_are_problems(mesh: Mesh) -> None:
    """404 and 405 are answered as every other refusal is."""
    refused(http.get(f"{mesh.url}/nowhere"), 404)
    wrong = http.get(f"{mesh.url}/predict")
    refused(wrong, 405)
    assert wrong.headers["Allow"] == "POST"


def test_a_second_process_on_the_port_does_not_start(mesh: Mesh) -> None:
    """A gateway whose port is taken ends with an error, and takes no share of the requests."""
    port = int(mesh.url.rpartition(":")[2])
    intruder = mesh.add_gateway("intruder", port=port)
    intruder.start()
    assert intruder.wait_ended() == 1
    assert any(line["event"] == "cannot_listen" for line in intruder.lines())
