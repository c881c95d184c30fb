"""The trained network as a GGUF file."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch

from bodhi_jupyter.models.box import GUIDE

from .network import Network
from .tokens import ANSWERS, CONTROLS, END, MARKS, TEMPLATE, Tokenizer

_KIND = gguf.GGMLQuantizationType.Q8_0


def write(path: Path, network: Network, tokenizer: Tokenizer) -> None:
    """Write the model, matrices in Q8_0; the same network gives the same bytes."""
    shape = network.shape
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(GUIDE.name)
    writer.add_description(GUIDE.description)
    writer.add_license("MIT")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    _add_tokens(writer, tokenizer)
    _add_tensors(writer, network)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def round_weights(network: Network) -> None:
    """Make the matrices what they will be in the file."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                rounded = gguf.quants.dequantize(gguf.quants.quantize(parameter.detach().numpy(), _KIND), _KIND)
                parameter.copy_(torch.from_numpy(rounded))


def _add_tokens(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    pieces = tokenizer.processor
    places = range(pieces.get_piece_size())
    writer.add_vocab_size(len(places))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([pieces.id_to_piece(place) for place in places])
    writer.add_token_scores([pieces.get_score(place) for place in places])
    writer.add_token_types([_kind(tokenizer, place) for place in places])
    writer.add_unk_token_id(pieces.unk_id())
    writer.add_bos_token_id(pieces.piece_to_id(END))
    writer.add_eos_token_id(pieces.piece_to_id(END))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)


def _kind(tokenizer: Tokenizer, place: int) -> int:
    pieces, kind = tokenizer.processor, gguf.TokenType
    piece = pieces.id_to_piece(place)
    if place == pieces.unk_id():
        return int(kind.UNKNOWN)
    if piece in CONTROLS or piece in ANSWERS.values():
        return int(kind.CONTROL)
    if piece in MARKS:
        return int(kind.USER_DEFINED)
    return int(kind.BYTE if pieces.is_byte(place) else kind.NORMAL)


def _add_tensors(writer: gguf.GGUFWriter, network: Network) -> None:
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    _add_matrix(writer, "token_embd.weight", weights["embedding.weight"])
    for place in range(network.shape.layers):
        ours, theirs = f"layers.{place}", f"blk.{place}"
        writer.add_tensor(f"{theirs}.attn_norm.weight", weights[f"{ours}.attention_norm.weight"])
        for mine, its in (("q", "attn_q"), ("k", "attn_k"), ("v", "attn_v"), ("out", "attn_output")):
            _add_matrix(writer, f"{theirs}.{its}.weight", weights[f"{ours}.attention.{mine}.weight"])
        writer.add_tensor(f"{theirs}.ffn_norm.weight", weights[f"{ours}.norm.weight"])
        for name in ("gate", "up", "down"):
            _add_matrix(writer, f"{theirs}.ffn_{name}.weight", weights[f"{ours}.{name}.weight"])
    _add_matrix(writer, "output.weight", weights["output.weight"])
    writer.add_tensor("output_norm.weight", weights["norm.weight"])


def _add_matrix(writer: gguf.GGUFWriter, name: str, weights: np.ndarray) -> None:
    writer.add_tensor(name, gguf.quants.quantize(weights, _KIND), raw_dtype=_KIND)
