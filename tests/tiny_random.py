"""A model of less than a megabyte: llama's architecture with random weights.

It exists so that a fresh installation has something to answer with, and tests a real engine to ask. What makes
random weights speak in words rather than in noise are two hidden dimensions that no layer writes to. In dimension 0
every embedding holds the same constant, so that column 0 of the output matrix is a bias per token. Dimension 1 is
set by a line's end and by punctuation, after which neither an end nor punctuation may come: no answer is empty.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gguf
    import numpy as np

    Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

NAME = "tiny-random"
DESCRIPTION = "Random weights: it shows that everything works, and knows nothing."

_WIDTH = 64
_HEADS = 4
_LAYERS = 2
_FEED_FORWARD = 128
_TRAINED_CONTEXT = 8192

#: The constant in the two hidden dimensions, and how much of the first the final norm lets
#: through: little, so that it does not make all embeddings point the same way.
_CONSTANT = 4.0
_CONSTANT_KEPT = 0.05
#: Spread of a word's logit; llama.cpp's default sampling then chooses among a dozen words or so.
_LOGIT_SPREAD = 1.6
#: Biases in logits. An end is hardly ever the likeliest token, but is drawn now and then; parts of words are
#: for reading prompts and for grammars; bytes and control tokens only for grammars.
_END_BIAS = 4.4
_PUNCTUATION_BIAS = 1.0
_PART_BIAS = -30.0
_BYTE_BIAS = -60.0
_OUT_OF_PLACE_BIAS = -60.0

_END = 2
_PUNCTUATION = ".,?!;:"
_WORDS = """
a about above across after again all almost along already also always among an and another answer any apple are
around art as ask at autumn away back bank bark basket be because been before begin behind bell below best better
between big bird black blue boat book both bread bridge bright bring broad brown build but by call calm can car care
carry cat chair change child circle city class clear clock close cloud coast cold colour come common copper corner
could count country course cover cup dance dark day deep did different do dog door down draw dream drive dry each ear
early earth east easy eat edge eight else end enough evening ever every eye face fall family far farm fast feel few
field find fine fire first fish five floor flower fly follow food foot for forest found four free fresh friend from
front fruit full game garden gave gentle get give glass go gold good grass great green grow had half hand happy hard
has have he hear heart help her here high hill him his hold home honey hope horse hot hour house how hundred i idea if
in inside into iron is island it its join just keep kind kitchen know lake lamp land large last late laugh leaf learn
left letter light like line listen little live long look made make many map mark market may me mean meet might milk
mind minute mirror moon more morning most mountain move much music must my name near need never new next night nine no
north nose not note nothing now number ocean of off often old on once one only open or orange order other our out over
own page paint paper part path people perhaps piano picture place plain plant play point quick quiet rain read ready
red rest rice ring river road rock room round run said salt same sand sang saw say school sea season second see seed
seem seven shade shape she ship shop short should show side silver simple sing sister six sky sleep slow small snow so
soft some song soon sound south space speak spring square stand star start station still stone stop story street
strong such sugar summer sun sure table take talk tall tea tell ten than that the their them then there these they
thing think this those thought three through time to today together tomorrow too took town train travel tree true try
turn two under until up upon us use valley very village voice wait walk wall want warm was watch water wave way we
week well went were west what wheel when where which while white who why wide will wind window winter with without
wonder wood word work world would write year yellow yes yet you young your
"""

#: Tools in the manner that llama.cpp recognises in a template, so that calls can be forced by a grammar.
_TEMPLATE = """\
{{- bos_token -}}
{%- if tools -%}
{{- '[tools]\\n' -}}
{%- for tool in tools -%}
{{- tool | tojson + '\\n' -}}
{%- endfor -%}
{%- endif -%}
{%- for message in messages -%}
{{- '[' + message.role + ']\\n' -}}
{%- if message.content -%}
{{- message.content + '\\n' -}}
{%- endif -%}
{%- for call in message.tool_calls or [] -%}
{{- '<tool_call>{"name": "' + call.function.name + '", "arguments": ' -}}
{{- call.function.arguments | tojson + '}</tool_call>\\n' -}}
{%- endfor -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '[assistant]\\n' -}}
{%- endif -%}
"""


def write_tiny_random(path: Path, *, seed: int = 0) -> None:
    """Write the model to `path` (a ``.gguf``), whole or not at all.

    One seed gives the same bytes every time; different seeds say different things.

    Raises:
        OSError: the folder does not exist or cannot be written to.
    """
    import gguf

    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        writer = gguf.GGUFWriter(temporary, "llama")
        try:
            _add_metadata(writer)
            tokens = _Vocabulary()
            tokens.add_to(writer)
            _add_tensors(writer, tokens, seed)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _add_metadata(writer: gguf.GGUFWriter) -> None:
    import gguf

    writer.add_name(NAME)
    writer.add_description(DESCRIPTION)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(_TRAINED_CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_layer_norm_rms_eps(1e-5)


class _Vocabulary:
    """Pieces in SentencePiece's manner, and how readily each is said."""

    def __init__(self) -> None:
        import gguf

        kind = gguf.TokenType
        self.pieces: list[str] = []
        self.kinds: list[int] = []
        self.biases: list[float] = []
        self._add("<unk>", kind.UNKNOWN, _BYTE_BIAS)
        self._add("<s>", kind.CONTROL, _BYTE_BIAS)
        self._add("</s>", kind.CONTROL, _END_BIAS)
        for byte in range(256):
            self._add(f"<0x{byte:02X}>", kind.BYTE, _BYTE_BIAS)
        # Never said by itself; a request's `logit_bias` for token 259 makes a call happen.
        self._add("<tool_call>", kind.USER_DEFINED, _BYTE_BIAS)
        self._add("▁", kind.NORMAL, _PART_BIAS)
        for character in map(chr, range(0x21, 0x7F)):
            self._add(character, kind.NORMAL, _PUNCTUATION_BIAS if character in _PUNCTUATION else _PART_BIAS)
        punctuation = [self.pieces.index(character) for character in _PUNCTUATION]
        #: What asks for a word to follow, and what is none.
        self.openers = [self.pieces.index("<0x0A>"), *punctuation]
        self.closers = [_END, *punctuation]
        words = {f"▁{word}" for word in _WORDS.split()}
        for word in sorted(words):
            self._add(word, kind.NORMAL, 0.0)
        # The tokenizer joins pieces two by two: a word is found only if its beginnings are pieces too.
        for part in sorted({word[:end] for word in words for end in range(2, len(word))} - words):
            self._add(part, kind.NORMAL, _PART_BIAS)

    def _add(self, piece: str, kind: int, bias: float) -> None:
        self.pieces.append(piece)
        self.kinds.append(int(kind))
        self.biases.append(bias)

    def add_to(self, writer: gguf.GGUFWriter) -> None:
        writer.add_vocab_size(len(self.pieces))
        writer.add_tokenizer_model("llama")
        writer.add_token_list(self.pieces)
        writer.add_token_scores([float(len(piece)) for piece in self.pieces])
        writer.add_token_types(self.kinds)
        writer.add_unk_token_id(0)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(_END)
        writer.add_add_bos_token(True)
        writer.add_add_eos_token(False)
        writer.add_add_space_prefix(False)
        writer.add_chat_template(_TEMPLATE)


def _add_tensors(writer: gguf.GGUFWriter, tokens: _Vocabulary, seed: int) -> None:
    import numpy as np

    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int, gain: float) -> Floats:
        """Random weights that turn inputs of size 1 into outputs of size `gain`."""
        drawn: Floats = random.standard_normal((rows, columns), dtype=np.float32)
        return drawn * np.float32(gain / columns**0.5)

    def add(name: str, weights: Floats) -> None:
        writer.add_tensor(name, weights.astype(np.float16))

    def add_norm(name: str, first: float) -> None:
        weights = np.ones(_WIDTH, dtype=np.float32)
        weights[0] = first
        writer.add_tensor(name, weights)

    embeddings = matrix(len(tokens.pieces), _WIDTH, _WIDTH**0.5)
    embeddings[:, 0] = _CONSTANT
    embeddings[:, 1] = 0.0
    embeddings[tokens.openers, 1] = _CONSTANT
    add("token_embd.weight", embeddings)
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        add_norm(f"{block}.attn_norm.weight", 1.0)
        add(f"{block}.attn_q.weight", matrix(_WIDTH, _WIDTH, 1.5))
        add(f"{block}.attn_k.weight", matrix(_WIDTH, _WIDTH, 1.5))
        add(f"{block}.attn_v.weight", matrix(_WIDTH, _WIDTH, 2.0))
        mixed = matrix(_WIDTH, _WIDTH, 2.0)
        mixed[:2] = 0.0
        add(f"{block}.attn_output.weight", mixed)
        add_norm(f"{block}.ffn_norm.weight", 1.0)
        add(f"{block}.ffn_gate.weight", matrix(_FEED_FORWARD, _WIDTH, 2.0))
        add(f"{block}.ffn_up.weight", matrix(_FEED_FORWARD, _WIDTH, 2.0))
        narrowed = matrix(_WIDTH, _FEED_FORWARD, 2.0)
        narrowed[:2] = 0.0
        add(f"{block}.ffn_down.weight", narrowed)
    add_norm("output_norm.weight", _CONSTANT_KEPT)
    logits = matrix(len(tokens.pieces), _WIDTH, _LOGIT_SPREAD)
    logits[_END] = 0.0  # the end depends on nothing but its biases
    logits[:, 0] = np.asarray(tokens.biases) / _CONSTANT_KEPT
    logits[:, 1] = 0.0
    logits[tokens.closers, 1] = _OUT_OF_PLACE_BIAS
    add("output.weight", logits)
