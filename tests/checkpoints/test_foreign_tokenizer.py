"""Tokenizers of other codes: what they are made of is read, and nothing is pretended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from published import fla_checkpoint, torchscale_checkpoint
from safetensors.torch import save_file
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

import retnet_viz as rv
from retnet_viz.checkpoints import CheckpointError, load
from retnet_viz.checkpoints.foreign_tokenizer import ForeignTokenizer, find_tokenizer

TEXTS = ["The old man said that the boy would go down to the river.", "And so he did, café!"] * 20


def sentence_piece() -> Backend:
    """As Llama's: BPE on pieces whose spaces are ▁, with bytes for whatever is not in it."""
    backend = Backend(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    special = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    backend.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=400, special_tokens=special[:2], show_progress=False,
                                   initial_alphabet=[])
    )  # fmt: skip
    content = json.loads(backend.to_str())
    vocab = content["model"]["vocab"]
    for token in special[2:]:
        vocab[token] = len(vocab)
    backend = Backend.from_str(json.dumps(content))
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return backend


def word_piece() -> Backend:
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.WordPiece()
    backend.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=80, special_tokens=["[UNK]"])
    )
    return backend


def checkpoint(folder: Path, vocab_size: int, backend: Backend | None = None) -> Path:
    config, tensors = fla_checkpoint(vocab_size=vocab_size)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    if backend is not None:
        backend.save(str(folder / "tokenizer.json"))
    return folder


def test_a_sentence_piece_vocabulary_is_read(tmp_path: Path) -> None:
    backend = sentence_piece()
    model = load(checkpoint(tmp_path, backend.get_vocab_size(), backend))
    tokenizer, text = model.tokenizer, "the river, 火 and so"
    assert isinstance(tokenizer, ForeignTokenizer)
    ids = tokenizer.encode(text)
    assert ids == backend.encode(text, add_special_tokens=False).ids
    pieces = [tokenizer.piece(each) for each in ids]
    assert " ".join(text.split()[:1]) in "".join(pieces)
    assert "\\xe7" in pieces  # the first byte of 火, which no token stands for
    assert tokenizer.decode(ids).strip() == text
    trace = rv.trace(model, text)
    assert trace.tokens == pieces


def test_a_live_text_equals_a_fresh_trace_with_any_tokenizer(tmp_path: Path) -> None:
    backend = sentence_piece()
    model = load(checkpoint(tmp_path, backend.get_vocab_size(), backend))
    live = rv.live(model, "the old man", mode="recurrent")
    for text in (" said that", " the boy", "s would"):
        live.append(text)
    fresh = rv.trace(model, "the old man said that the boys would", mode="recurrent")
    assert torch.equal(live.trace.ids, fresh.ids)
    assert torch.allclose(live.trace.logits, fresh.logits, atol=1e-4)


def test_a_word_piece_vocabulary_is_read(tmp_path: Path) -> None:
    backend = word_piece()
    tokenizer = find_tokenizer(checkpoint(tmp_path, 80, backend), 80)
    ids = tokenizer.encode("the river")
    assert "".join(tokenizer.piece(each) for each in ids).replace(" ", "") == "theriver"
    assert len(ids) == tokenizer.vocab_size or max(ids) < tokenizer.vocab_size


def test_gpt2s_two_files_are_read_through_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        show_progress=False,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    backend.train_from_iterator(TEXTS, trainer)
    folder = checkpoint(tmp_path, 300)
    backend.model.save(str(folder))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    model, text = load(folder), "The old café on the river 火"
    assert model.tokenizer.encode(text) == backend.encode(text).ids
    assert model.tokenizer.decode(model.tokenizer.encode(text)) == text


def test_without_a_tokenizer_text_is_read_as_bytes_and_that_is_said(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 256)
    with pytest.warns(UserWarning, match="without a tokenizer: text is read as bytes"):
        model = load(folder)
    text = "naïve 火\n"
    assert model.tokenizer.encode(text) == list(text.encode())
    assert model.tokenizer.decode(list(text.encode())) == text
    assert rv.trace(model, "abc").tokens == ["a", "b", "c"]


def test_bytes_are_announced_on_the_page(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="read as bytes"):
        model = load(checkpoint(tmp_path, 256))
    explorer = rv.explore(model, "né")
    assert "3 tokens. This model came without a tokenizer" in explorer.notice.value
    explorer.stop()
    shipped = rv.explore(rv.load(), "né")
    assert "tokenizer" not in shipped.notice.value
    shipped.stop()


def test_a_model_of_fewer_tokens_than_bytes_has_no_tokenizer(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="give it ids"):
        model = load(checkpoint(tmp_path, 31))
    assert model.tokenizer is None
    assert rv.trace(model, torch.tensor([3, 1, 4])).logits.shape == (3, 31)
    with pytest.raises(ValueError, match="tokenizer"):
        rv.explore(model, "abc")


@pytest.mark.parametrize("content", ["", "{}", '{"model": {"type": "BPE"}}'])
def test_a_damaged_tokenizer_is_refused(tmp_path: Path, content: str) -> None:
    folder = checkpoint(tmp_path, 256)
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is not a tokenizer file"):
        load(folder)


def test_a_damaged_sentence_piece_model_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 256)
    (folder / "tokenizer.model").write_bytes(b"\x00\x01")
    with pytest.raises(CheckpointError, match=r"tokenizer\.model"):
        load(folder)


def test_more_tokens_than_the_model_has_are_refused(tmp_path: Path) -> None:
    backend = sentence_piece()
    config, tensors = torchscale_checkpoint()
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(tensors, tmp_path / "model.safetensors")
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match="gives the model 31"):
        load(tmp_path)
