"""``/v1/embeddings``: the request, and vectors cut, encoded and counted as OpenAI does (OpenAI spec 2.3.0)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field

from .errors import InvalidField
from .held import HeldModel
from .inputs import Inputs, each
from .json_text import compact

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector: TypeAlias = NDArray[np.float32]


class EmbeddingRequest(HeldModel):
    """``POST /v1/embeddings``."""

    model: Annotated[str, Field(min_length=1)]
    input: Inputs
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: str | None = None

    @property
    def inputs(self) -> Sequence[str | list[int]]:
        """The texts or token lists to embed, one each."""
        return each(self.input)


def batches(inputs: Sequence[str | list[int]], size: int) -> Iterator[Sequence[str | list[int]]]:
    """`inputs` in runs of at most `size`."""
    for start in range(0, len(inputs), size):
        yield inputs[start : start + size]


def read_vectors(document: Mapping[str, Any], expected: int) -> list[Vector]:
    """The vectors of an answer, in the order of the inputs, from base64 or from numbers.

    Raises:
        ValueError: the answer is not one vector of finite numbers for each of `expected` inputs.
    """
    data = document.get("data")
    if not isinstance(data, list) or len(data) != expected:
        raise ValueError("not one embedding for each input")
    try:
        vectors = {int(item["index"]): _vector(item["embedding"]) for item in data}
        return [vectors[index] for index in range(expected)]
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError("an embedding is missing or malformed") from error


def _vector(embedding: object) -> Vector:
    import numpy as np

    if isinstance(embedding, str):
        vector = np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
    else:
        vector = np.asarray(embedding, dtype=np.float32)
    if vector.ndim != 1 or not vector.size or not np.isfinite(vector).all():
        raise ValueError("an embedding is not a vector of finite numbers")
    return vector


def shorten(vector: Vector, dimensions: int | None) -> Vector:
    """The first `dimensions` numbers, brought back to length 1 as OpenAI does; all of them as they are.

    Raises:
        InvalidField: the model has fewer.
    """
    import numpy as np

    if dimensions is None or dimensions == vector.size:
        return vector
    if dimensions > vector.size:
        raise InvalidField(
            f"Invalid 'dimensions': integer above maximum value. Expected a value <= {vector.size}, the size of "
            f"this model's embeddings, but got {dimensions} instead.",
            param="dimensions",
            code="integer_above_max_value",
        )
    cut = vector[:dimensions]
    length = float(np.linalg.norm(cut.astype(np.float64)))
    return (cut / length).astype(np.float32) if length else cut


def render_embeddings(
    vectors: Sequence[Vector], *, model: str, prompt_tokens: int, encoding_format: Literal["float", "base64"] | None
) -> bytes:
    """The body of the answer; a thousand vectors take long to write, so call it in a thread."""
    encode = _base64 if encoding_format == "base64" else _numbers
    data = [
        {"object": "embedding", "index": index, "embedding": encode(vector)} for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    document = {"object": "list", "data": data, "model": model, "usage": usage}
    return compact(document)


def _base64(vector: Vector) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _numbers(vector: Vector) -> list[float]:
    return [float(number) for number in vector.tolist()]
