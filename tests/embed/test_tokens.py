"""The pieces of the shipped file, cut by us as the engine cuts them."""

from __future__ import annotations

import gguf
import pytest

from bodhi_jupyter.models.box import EMBEDDER
from tools.embed.sections import sections
from tools.embed.tokens import BEGIN, SPECIAL, Tokenizer
from tools.guide.engine import running

TEXTS = (
    "How do I get a BIGGER model?",
    "Café, naïve, Ünïcode",
    "日本語 と 中文",
    "a\u00adb c\u0301 don't “quoted” … dash",
    'c.BodhiExtension.backend_url = "http://127.0.0.1:8080"',
    "x=1+2 <tag> $5 ^~|` \t\n two  spaces",
    "",
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(gguf.GGUFReader(EMBEDDER.file).fields["tokenizer.ggml.tokens"].contents())


def test_the_engine_cuts_alike(tokenizer: Tokenizer) -> None:
    passages = [passage for section in sections() for passage in section.passages]
    with running(EMBEDDER.file, embeddings=True) as engine:
        for text in (*TEXTS, *passages[::10]):
            answer = engine.client.post("/tokenize", json={"content": text, "add_special": False})
            assert answer.json()["tokens"] == tokenizer.encode(text), text


def test_no_word_of_ascii_is_unknown(tokenizer: Tokenizer) -> None:
    unknown = SPECIAL.index("[UNK]")

    assert unknown not in tokenizer.encode("".join(map(chr, range(32, 127))) + " zqxj Q9 ")
    assert tokenizer.encode("ʘ") == [unknown]


def test_the_longest_piece_comes_first() -> None:
    pieces = [*SPECIAL, BEGIN + "a", BEGIN + "ab", "b", "c", "bc"]

    assert [pieces[place] for place in Tokenizer(pieces).encode("abc Abbc")] == ["▁ab", "c", "▁ab", "bc"]
