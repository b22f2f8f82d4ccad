"""Checkpoints that are named as on the Hugging Face Hub: owner/model."""

from __future__ import annotations

import re
from pathlib import Path

from retnet_viz.checkpoints.errors import CheckpointError
from retnet_viz.checkpoints.foreign_tokenizer import VOCABULARIES

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    *(name for names in VOCABULARIES for name in names),
)
_SAFETENSORS = ("*.safetensors", "*.safetensors.index.json")
_PICKLES = ("pytorch_model*.bin", "pytorch_model.bin.index.json")


def local_folder(path: str | Path) -> Path:
    """The folder of a checkpoint: `path`, or the downloaded copy of a model on the Hub.

    A name counts as one of the Hub where it is `owner/model` and there is no folder `owner` here.
    An earlier download needs no network. Raises CheckpointError where the download fails.
    """
    folder = Path(path)
    name = str(path)
    if folder.exists() or not _NAME.fullmatch(name) or folder.parent.exists():
        return folder
    import huggingface_hub

    try:
        download = huggingface_hub.snapshot_download
        snapshot = Path(download(name, allow_patterns=[*_FILES, *_SAFETENSORS]))
        if not any(snapshot.glob("*.safetensors")):
            snapshot = Path(download(name, allow_patterns=[*_FILES, *_PICKLES]))
    except Exception as error:  # of the network, of the Hub, of the disk
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"there is no folder {name} here, and no model {name} could be fetched from the "
            f"Hugging Face Hub: {reason}"
        ) from error
    return snapshot
