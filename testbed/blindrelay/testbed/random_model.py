"""A language model of half a megabyte with random weights, made on the spot.

It talks no sense, and it is real: llama.cpp loads it, tokenises, samples and streams as with any other, at
about a millisecond a token. The same seed gives the same file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import gguf
    import numpy as np
    from numpy.typing import NDArray

    Weights = NDArray[np.float32]

_VOCABULARY: Final = (
    "relay bridge sealed node hello world key open stream record client secret answer question letter "
    "envelope carry nobody reads what passes here and there with a stamp the of to is"
)

WORDS: Final = tuple(_VOCABULARY.split())
"""What the model can say: each a token of its own."""

_UNKNOWN, _BEGIN, _END = 0, 1, 2
_NORMAL_TYPE, _UNKNOWN_TYPE, _CONTROL_TYPE, _BYTE_TYPE = 1, 2, 3, 6
_CONTROL_TOKENS: Final = (b"<unk>", b"<s>", b"</s>")
_FIRST_WORD: Final = len(_CONTROL_TOKENS) + 256

_EMBEDDING: Final = 64
_FEED_FORWARD: Final = 128
_HEADS: Final = 4
_BLOCKS: Final = 2
_CONTEXT: Final = 4096

_MUTED: Final = 0.02
"""Scale of the output rows of bytes and control tokens, so that sampling prefers words and seldom ends."""

_CHAT_TEMPLATE: Final = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant:"
)


def write_random_model(path: Path, seed: int = 0) -> Path:
    """Writes a GGUF file of about 470 KiB: two llama blocks, 64 wide, with a byte-fallback vocabulary."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer)
    for name, weights in _tensors(seed).items():
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _describe(writer: gguf.GGUFWriter) -> None:
    writer.add_name("random")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_EMBEDDING)
    writer.add_block_count(_BLOCKS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_dimension_count(_EMBEDDING // _HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    _describe_vocabulary(writer)


def _describe_vocabulary(writer: gguf.GGUFWriter) -> None:
    """SentencePiece style: control tokens, one token for each byte, then the words with their space."""
    byte_tokens = [f"<0x{byte:02X}>".encode() for byte in range(256)]
    word_tokens = [f"\N{LOWER ONE EIGHTH BLOCK}{word}".encode() for word in WORDS]
    tokens = [*_CONTROL_TOKENS, *byte_tokens, *word_tokens]
    types = [_UNKNOWN_TYPE, _CONTROL_TYPE, _CONTROL_TYPE, *[_BYTE_TYPE] * 256, *[_NORMAL_TYPE] * len(WORDS)]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * _FIRST_WORD + [-float(rank) for rank in range(len(WORDS))])
    writer.add_token_types(types)
    writer.add_unk_token_id(_UNKNOWN)
    writer.add_bos_token_id(_BEGIN)
    writer.add_eos_token_id(_END)
    writer.add_chat_template(_CHAT_TEMPLATE)


def _tensors(seed: int) -> dict[str, Weights]:
    import numpy as np

    generator = np.random.default_rng(seed)

    def normal(rows: int, columns: int, scale: float = 1.0) -> Weights:
        return (generator.standard_normal((rows, columns)) * scale).astype(np.float32)

    vocabulary = _FIRST_WORD + len(WORDS)
    output = normal(vocabulary, _EMBEDDING)
    output[:_FIRST_WORD] *= _MUTED
    tensors = {
        "token_embd.weight": normal(vocabulary, _EMBEDDING),
        "output_norm.weight": np.ones(_EMBEDDING, np.float32),
        "output.weight": output,
    }
    for block in range(_BLOCKS):
        for name in ("attn_norm", "ffn_norm"):
            tensors[f"blk.{block}.{name}.weight"] = np.ones(_EMBEDDING, np.float32)
        for name, (rows, columns) in _BLOCK_SHAPES.items():
            tensors[f"blk.{block}.{name}.weight"] = normal(rows, columns, columns**-0.5)
    return tensors


_BLOCK_SHAPES: Final = {
    "attn_q": (_EMBEDDING, _EMBEDDING),
    "attn_k": (_EMBEDDING, _EMBEDDING),
    "attn_v": (_EMBEDDING, _EMBEDDING),
    "attn_output": (_EMBEDDING, _EMBEDDING),
    "ffn_gate": (_FEED_FORWARD, _EMBEDDING),
    "ffn_up": (_FEED_FORWARD, _EMBEDDING),
    "ffn_down": (_EMBEDDING, _FEED_FORWARD),
}
