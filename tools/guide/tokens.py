"""The tokenizer: SentencePiece's byte-pair encoding, which llama.cpp reads as it is."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sentencepiece

from . import data
from .corpus import Conversation, Turn

SIZE = 2560
#: Marks where no piece of the training may reach across. It is in none of its texts.
_BORDER = "\x1f"
#: Where a name, a number or a space begins, and where a number or a word ends.
_WORDS = re.compile(r"(?<![A-Z])(?=[A-Z])|(?<!\d)(?=\d)|(?<=\d)(?!\d)|(?<! )(?= )|(?<=\w)(?=[^\w ])")
_JOINT = re.compile(r"(?<=\w)[ -](?=\w)")
END = "<|end|>"
#: Each begins a turn; `END` ends it.
ROLES = ("system", "tools", "user", "assistant", "tool")
CONTROLS = (END, *(f"<|{role}|>" for role in ROLES))
#: What an answer that is known by heart begins with: a token that is not shown. It says which answer; that is all that
#: a question decides.
ANSWERS = {text: f"<|answer {where}|>" for where, text in reversed(list(data.answers()))}
#: Text that llama.cpp's parser looks for.
CALL = "<tool_call>"
MARKS = (CALL, "</tool_call>")
TEMPLATE = (Path(__file__).parent / "template.jinja").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Sample:
    """Token ids, and which of them are learned."""

    ids: tuple[int, ...]
    learned: tuple[bool, ...]


class Tokenizer:
    """Pieces and their ids.

    Args:
        model: a serialised SentencePiece model.
    """

    def __init__(self, model: bytes) -> None:
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.end: int = self.processor.piece_to_id(END)
        self.answers: dict[str, int] = {text: self.processor.piece_to_id(piece) for text, piece in ANSWERS.items()}

    @classmethod
    def trained(cls, lines: Sequence[str], names: Sequence[str]) -> Tokenizer:
        """Learn the pieces that `lines` and `names` are made of; the same ones give the same pieces.

        A capital begins a piece, and no space is before it; nothing that follows a word is in a piece with its end. So
        a name is the same pieces between spaces and between quotation marks, and can be copied from a question into a
        call.
        """
        # How words of names begin is said once more: one piece then tells two words that begin alike from one another.
        starts = [word[:2] for name in names for word in _JOINT.split(name)] * 2
        written = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(_WORDS.sub(_BORDER, line) for line in [*lines, *names, *starts]),
            model_writer=written,
            model_type="bpe",
            vocab_size=SIZE,
            byte_fallback=True,
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            normalization_rule_name="identity",
            allow_whitespace_only_pieces=True,
            split_digits=False,
            split_by_number=False,
            split_by_unicode_script=False,
            split_by_whitespace=False,
            character_coverage=1.0,
            pretokenization_delimiter=_BORDER,
            user_defined_symbols=[*CONTROLS, *dict.fromkeys(ANSWERS.values()), *MARKS],
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
        return cls(written.getvalue())

    def sample(self, conversation: Conversation) -> Sample:
        """A conversation of which what the assistant says is learned, with the tokens that begin and end it."""
        ids: list[int] = []
        learned: list[bool] = []
        for turn in conversation:
            said = turn.role == "assistant" and not turn.given
            chosen = [self.answers[turn.text]] if said and turn.text in self.answers else []
            content = [*chosen, *self.content(turn), self.end]
            ids += [self.processor.piece_to_id(f"<|{turn.role}|>"), *content]
            learned += [False, *[said] * len(content)]
        return Sample(tuple(ids), tuple(learned))

    def content(self, turn: Turn) -> list[int]:
        """What a turn says."""
        # A space before the first word that is read: it is then the same token as anywhere else.
        text = turn.text if turn.role == "assistant" else f" {turn.text}"
        ids: list[int] = self.processor.encode(text)
        return ids
