"""Embeddings: what is refused, and vectors that arrive as they were computed."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from bodhi_jupyter.wire.embeddings import (
    EmbeddingRequest,
    batches,
    read_vectors,
    render_embeddings,
    shorten,
)
from bodhi_jupyter.wire.errors import InvalidField
from bodhi_jupyter.wire.rerank import RerankRequest, with_documents
from bodhi_jupyter.wire.validation import parse_request


def request(**fields: Any) -> EmbeddingRequest:
    return parse_request(EmbeddingRequest, json.dumps({"model": "m", "input": "x", **fields}).encode())


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"input": ""}, "input", "empty_string"),
    ({"input": []}, "input", "empty_array"),
    ({"input": ["a", ""]}, "input[1]", "empty_string"),
    ({"input": [[]]}, "input[0]", "empty_array"),
    ({"input": [[1], [-1]]}, "input[1][0]", "integer_below_min_value"),
    ({"input": None}, "input", "invalid_type"),
    ({"input": {}}, "input", "invalid_type"),
    ({"input": ["a"] * 2049}, "input", "array_above_max_length"),
    ({"encoding_format": "int8"}, "encoding_format", "invalid_value"),
    ({"dimensions": 0}, "dimensions", "integer_below_min_value"),
    ({"dimensions": 1.5}, "dimensions", "invalid_type"),
    ({"model": None}, "model", "invalid_type"),
    ({"user": 1}, "user", "invalid_type"),
]


@pytest.mark.parametrize(("fields", "param", "code"), BAD, ids=[str(one)[:40] for one, _, _ in BAD])
def test_a_bad_request_names_its_field(fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(InvalidField) as caught:
        request(**fields)
    assert (caught.value.param, caught.value.code) == (param, code)


@pytest.mark.parametrize(
    ("given", "inputs"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1, 2], [3]], [[1, 2], [3]])],
)
def test_inputs_come_in_four_forms(given: Any, inputs: list[Any]) -> None:
    assert request(input=given).inputs == inputs


def test_batches_keep_the_order_and_lose_nothing() -> None:
    runs = list(batches([str(number) for number in range(10)], 4))
    assert [len(run) for run in runs] == [4, 4, 2]
    assert [one for run in runs for one in run] == [str(number) for number in range(10)]


VECTOR = np.array([0.1, -2.5, 3e-8, 4.0], dtype=np.float32)


def item(index: int, embedding: Any) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": embedding}


@pytest.mark.parametrize("embedding", [VECTOR.tolist(), base64.b64encode(VECTOR.tobytes()).decode()])
def test_numbers_and_base64_read_the_same_in_the_order_of_the_inputs(embedding: Any) -> None:
    first, second = read_vectors({"data": [item(1, [1.0]), item(0, embedding)]}, 2)
    assert first.tolist() == VECTOR.tolist()
    assert second.tolist() == [1.0]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"data": None},
        {"data": []},
        {"data": [item(1, [1.0])]},
        {"data": [{"index": 0}]},
        {"data": [item(0, None)]},
        {"data": [item(0, [])]},
        {"data": [item(0, [None])]},
        {"data": [item(0, [[1.0]])]},
        {"data": [item(0, "?")]},
        {"data": [item(0, "AAA=")]},
        {"data": [item(0, ["a"])]},
        {"data": [7]},
    ],
)
def test_what_are_no_embeddings_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        read_vectors(document, 1)


def test_fewer_dimensions_are_the_first_ones_at_length_1() -> None:
    short = shorten(np.array([3.0, 4.0, 12.0], dtype=np.float32), 2)
    assert short.tolist() == pytest.approx([0.6, 0.8])
    assert short.dtype == np.float32
    assert shorten(VECTOR, None) is VECTOR
    assert shorten(VECTOR, 4) is VECTOR
    assert shorten(np.zeros(3, dtype=np.float32), 2).tolist() == [0, 0]
    with pytest.raises(InvalidField, match="<= 4, the size of") as caught:
        shorten(VECTOR, 5)
    assert caught.value.param == "dimensions"


def test_both_formats_say_the_same() -> None:
    def render(encoding_format: Any) -> Any:
        body = render_embeddings([VECTOR, VECTOR], model="m", prompt_tokens=3, encoding_format=encoding_format)
        return json.loads(body)

    numbers, text = render(None), render("base64")
    assert render("float") == numbers
    assert numbers["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert [one["index"] for one in text["data"]] == [0, 1]
    decoded = np.frombuffer(base64.b64decode(text["data"][1]["embedding"]), dtype="<f4")
    assert decoded.tolist() == numbers["data"][1]["embedding"] == VECTOR.tolist()


RERANK_BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"query": ""}, "query", "empty_string"),
    ({"documents": []}, "documents", "empty_array"),
    ({"documents": [{"txt": "a"}]}, "documents[0].text", "missing_required_parameter"),
    ({"documents": "a"}, "documents", "invalid_type"),
    ({"top_n": 0}, "top_n", "integer_below_min_value"),
    ({"return_documents": "x"}, "return_documents", "invalid_type"),
]


@pytest.mark.parametrize(("fields", "param", "code"), RERANK_BAD, ids=[str(one) for one, _, _ in RERANK_BAD])
def test_a_bad_ranking_names_its_field(fields: dict[str, Any], param: str, code: str) -> None:
    body = {"model": "m", "query": "q", "documents": ["d"], **fields}
    with pytest.raises(InvalidField) as caught:
        parse_request(RerankRequest, json.dumps(body).encode())
    assert (caught.value.param, caught.value.code) == (param, code)


def test_results_get_the_documents_they_rank() -> None:
    ranked = with_documents([{"index": 1, "relevance_score": 0.5}], ["a", "b"])
    assert ranked == [{"index": 1, "relevance_score": 0.5, "document": {"text": "b"}}]
    for results in (None, [{}], [{"index": 2}], [{"index": -1}], [7]):
        with pytest.raises(ValueError):
            with_documents(results, ["a", "b"])
