"""The answers that the guide knows by heart each begin with a token of their own, which nobody gets to see."""

from __future__ import annotations

import gguf

from bodhi_jupyter.models.box import GUIDE
from tools.guide import data


def test_each_answer_has_one_that_is_not_shown() -> None:
    reader = gguf.GGUFReader(GUIDE.file)
    pieces = reader.fields["tokenizer.ggml.tokens"].contents()
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    hidden = {piece for piece, kind in zip(pieces, kinds, strict=True) if kind == gguf.TokenType.CONTROL}
    answers = {text for _, text in data.answers()}

    assert sum(piece.startswith("<|answer ") for piece in hidden) == len(answers)
