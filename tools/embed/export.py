"""The vectors of pieces as a GGUF file, in an architecture that llama.cpp takes the mean of."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from bodhi_jupyter.models.box import EMBEDDER

from .tokens import FIRST, LAST, PAD, SPECIAL, UNKNOWN, Tokenizer

#: Numbers of a vector. The last one is 0: the norm needs its place.
WIDTH = 512
#: Tokens that a text may have, as the file promises.
CONTEXT = 2048
#: Errors of single numbers hardly matter in the sum of many vectors.
_KIND = gguf.GGMLQuantizationType.Q4_0
#: Of the one layer, which adds nothing: an architecture without any is refused.
_NARROW = 32


def write(path: Path, vectors: np.ndarray, tokenizer: Tokenizer) -> None:
    """Write the model; the same vectors give the same bytes.

    Args:
        path: of the file.
        vectors: one for each piece, (pieces, `WIDTH` - 1); how long one is, is how much the piece says.
        tokenizer: the pieces.
    """
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(EMBEDDER.name)
    writer.add_description(EMBEDDER.description)
    writer.add_license("MIT")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_NARROW)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_key_length(_NARROW)
    writer.add_value_length(_NARROW)
    writer.add_rope_dimension_count(_NARROW)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    _add_tokens(writer, tokenizer)
    _add_tensors(writer, vectors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokens(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    pieces = tokenizer.pieces
    kinds = {UNKNOWN: gguf.TokenType.UNKNOWN, **dict.fromkeys((PAD, FIRST, LAST), gguf.TokenType.CONTROL)}
    writer.add_vocab_size(len(pieces))
    writer.add_tokenizer_model("bert")
    writer.add_token_list(list(pieces))
    writer.add_token_types([int(kinds.get(piece, gguf.TokenType.NORMAL)) for piece in pieces])
    writer.add_token_type_count(1)
    writer.add_pad_token_id(SPECIAL.index(PAD))
    writer.add_unk_token_id(SPECIAL.index(UNKNOWN))
    writer.add_bos_token_id(SPECIAL.index(FIRST))
    writer.add_sep_token_id(SPECIAL.index(LAST))


def _add_tensors(writer: gguf.GGUFWriter, vectors: np.ndarray) -> None:
    _add_matrix(writer, "token_embd.weight", with_equal_norms(vectors))
    ones = np.ones(WIDTH, dtype=np.float32)
    for name, shape in (
        ("attn_q", (_NARROW, WIDTH)),
        ("attn_k", (_NARROW, WIDTH)),
        ("attn_v", (_NARROW, WIDTH)),
        ("attn_output", (WIDTH, _NARROW)),
        ("ffn_gate", (_NARROW, WIDTH)),
        ("ffn_up", (_NARROW, WIDTH)),
        ("ffn_down", (WIDTH, _NARROW)),
    ):
        _add_matrix(writer, f"blk.0.{name}.weight", np.zeros(shape, dtype=np.float32))
    writer.add_tensor("blk.0.attn_norm.weight", ones)
    writer.add_tensor("blk.0.ffn_norm.weight", ones)
    writer.add_tensor("output_norm.weight", np.append(ones[:-1], np.float32(0)))


def with_equal_norms(vectors: np.ndarray) -> np.ndarray:
    """The vectors with one number more, which makes all as long as the longest.

    The architecture gives each place's vector the same length before their mean is taken. With that number they have
    it already, and the norm's weight of 0 drops it again: what is left is as long as it was.
    """
    squares = np.square(vectors).sum(axis=1, keepdims=True)
    filled: np.ndarray = np.hstack([vectors, np.sqrt(squares.max() - squares)])
    return filled.astype(np.float32)


def _add_matrix(writer: gguf.GGUFWriter, name: str, weights: np.ndarray) -> None:
    writer.add_tensor(name, gguf.quants.quantize(weights, _KIND), raw_dtype=_KIND)
