"""WordPiece as llama.cpp reads it: small letters without accents, marks apart, the longest pieces first."""

from __future__ import annotations

import io
import string
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

SIZE = 4096
#: What a piece that begins a word has before it.
BEGIN = "\u2581"
PAD, UNKNOWN, FIRST, LAST = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


class Tokenizer:
    """Pieces and their ids.

    Args:
        pieces: all of them, in the order of their ids.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = tuple(pieces)
        self._ids = {piece: place for place, piece in enumerate(pieces)}
        self._longest = max(map(len, pieces))
        self._word_ids = cache(self._split)

    @classmethod
    def trained(cls, texts: Sequence[str]) -> Tokenizer:
        """Learn the pieces that `texts` are made of; the same texts give the same pieces."""
        import sentencepiece

        written = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(" ".join(words(text)) for text in texts),
            model_writer=written,
            model_type="bpe",
            vocab_size=SIZE - len(SPECIAL) - 2 * len(_CHARACTERS),
            character_coverage=1.0,
            normalization_rule_name="identity",
            bos_id=-1,
            eos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
        learned = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
        found = (learned.id_to_piece(place) for place in range(1, learned.get_piece_size()))
        # A character that begins a word, and one within: no word of ASCII is unknown.
        single = [*_CHARACTERS, *(BEGIN + character for character in _CHARACTERS)]
        return cls([*SPECIAL, *dict.fromkeys([*single, *found])])

    def encode(self, text: str) -> list[int]:
        """The ids of the text's pieces, as the engine adds them to nothing: without the first and the last."""
        return [place for word in words(text) for place in self._word_ids(word)]

    def _split(self, word: str) -> tuple[int, ...]:
        left, found = BEGIN + word, []
        while left:
            longest = min(len(left), self._longest)
            size = next((size for size in range(longest, 0, -1) if left[:size] in self._ids), 0)
            if not size:
                return (self._ids[UNKNOWN],)
            found.append(self._ids[left[:size]])
            left = left[size:]
        return tuple(found)


_CHARACTERS = string.ascii_lowercase + string.digits + string.punctuation


def words(text: str) -> Iterator[str]:
    """The words of a text; each mark of punctuation is one, and each Chinese character."""
    word = ""
    for character in unicodedata.normalize("NFD", text):
        category = unicodedata.category(character)
        if character.isspace():
            yield from [word] * bool(word)
            word = ""
        elif character in string.punctuation or category[0] == "P" or "\u4e00" <= character <= "\u9fff":
            yield from [word] * bool(word)
            yield character
            word = ""
        elif category[0] != "C" and category != "Mn":
            word += character.lower()
    yield from [word] * bool(word)
