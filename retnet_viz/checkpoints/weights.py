"""The tensors of a checkpoint by name, in one file or several, each read when it is needed."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from retnet_viz.checkpoints.errors import CheckpointError
from retnet_viz.checkpoints.files import read_json

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
DEFAULT_NAMES = ("model.safetensors", "pytorch_model.bin")


class Weights(Mapping[str, Tensor]):
    """Tensors by name. Their shapes are known without reading them; files are memory-mapped.

    `metadata` is what the headers of safetensors files say besides.

    A file is safetensors, or what torch.save writes: that is opened with `weights_only=True`, so
    that no code in it runs, and only where its records lie uncompressed in it. Raises
    CheckpointError, naming the file, where one is missing, damaged or neither of the two.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.metadata: dict[str, str] = {}
        self._files: dict[str, _File] = {}
        for path in paths:
            file = _open(path)
            for name in file.shapes:
                if name in self._files:
                    raise CheckpointError(
                        f"{path} holds a tensor {name}, and so does {self._files[name].path}"
                    )
                self._files[name] = file
            self.shapes |= file.shapes
            self.metadata |= file.metadata

    @classmethod
    def of(cls, folder: Path) -> Weights:
        """The weights in a checkpoint folder, whatever they are called there."""
        for name in DEFAULT_NAMES:
            if (folder / name).is_file():
                return cls([folder / name])
            if (folder / f"{name}.index.json").is_file():
                return cls._sharded(folder / f"{name}.index.json")
        paths = [
            path
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in (".safetensors", *PICKLES) and path.is_file()
        ]
        if not paths:
            raise CheckpointError(f"{folder / DEFAULT_NAMES[0]} is missing")
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise CheckpointError(
                f"{folder} holds several files of weights and no index of them: {names}"
            )
        return cls(paths)

    @classmethod
    def _sharded(cls, index: Path) -> Weights:
        """The weights in the files that an index names, which must hold what it says."""
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(f"{index} has no object 'weight_map'")
        files: dict[str, Path] = {}
        for tensor, name in weight_map.items():
            if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
                raise CheckpointError(f"{index}: {name!r} names no file of the folder")
            files[name] = index.parent / name
            if not files[name].is_file():
                raise CheckpointError(f"{files[name]} is missing; {index.name} puts {tensor} there")
        weights = cls(list(files.values()))
        for tensor, name in weight_map.items():
            if tensor not in weights or weights.path_of(tensor) != files[name]:
                raise CheckpointError(f"{files[name]} lacks the tensor {tensor}")
        return weights

    def __getitem__(self, name: str) -> Tensor:
        """A tensor of finite floats; CheckpointError where it is none."""
        file = self._files[name]
        tensor = file.read(name)
        if tensor.dtype not in FLOATS:
            raise CheckpointError(f"{file.path}: tensor {name} holds {tensor.dtype}, not floats")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{file.path}: tensor {name} holds NaN or infinite values")
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def path_of(self, name: str) -> Path:
        """The file that holds a tensor."""
        return self._files[name].path


class _File:
    """One file: the shapes of its tensors, and each of them as it is stored."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.metadata: dict[str, str] = {}

    def read(self, name: str) -> Tensor:
        raise NotImplementedError


class _SafetensorsFile(_File):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file: Any = safe_open(path, "pt")
        self.metadata = self._file.metadata() or {}
        self.shapes = {
            name: tuple(self._file.get_slice(name).get_shape())
            for name in self._file.keys()  # noqa: SIM118
        }

    def read(self, name: str) -> Tensor:
        tensor: Tensor = self._file.get_tensor(name)
        return tensor


class _TorchFile(_File):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        _check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        # Trainers wrap what they save.
        for wrapper in ("state_dict", "model"):
            if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
                content = content[wrapper]
        if not isinstance(content, dict):
            raise CheckpointError(f"{path} holds a {type(content).__name__}, not named tensors")
        for name, tensor in content.items():
            if not isinstance(name, str) or not isinstance(tensor, Tensor):
                raise CheckpointError(f"{path}: {name!r} is not the name of a tensor")
        self._tensors: dict[str, Tensor] = content
        self.shapes = {name: tuple(tensor.shape) for name, tensor in content.items()}

    def read(self, name: str) -> Tensor:
        return self._tensors[name]


def _open(path: Path) -> _File:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    if path.suffix.lower() in PICKLES:
        try:
            return _TorchFile(path)
        except CheckpointError:
            raise
        except Exception as error:  # a damaged pickle makes torch raise whatever its parts do
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(
                f"{path} is not a file of nothing but tensors, as torch.save writes it: {reason}"
            ) from error
    try:
        return _SafetensorsFile(path)
    except (SafetensorError, OSError, ValueError) as error:
        # Only now: the header of a good file may have a length that begins with these bytes.
        if _begins_as_pickle(path):
            raise CheckpointError(pickle_advice(path)) from error
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error


def _check_archive(path: Path) -> None:
    """Refuse what would take more memory than the file itself, before anything is unpacked."""
    if not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} is not an archive of torch.save's, or of an older kind that cannot be "
            "checked before it is opened; load it with the program that wrote it and save it anew"
        )
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
    names = [record.filename for record in records if record.compress_type != zipfile.ZIP_STORED]
    if names:
        raise CheckpointError(f"{path}: the record {names[0]} is compressed; torch.save's are not")
    if sum(record.file_size for record in records) > path.stat().st_size:
        raise CheckpointError(f"{path} claims to hold more than it has bytes")


def _begins_as_pickle(path: Path) -> bool:
    """Whether a file begins as torch.save's zip archives or as a pickle of protocol 2 or later."""
    with path.open("rb") as file:
        head = file.read(2)
    return head == b"PK" or head[:1] == b"\x80"


def pickle_advice(path: Path) -> str:
    """Why a pickle is not opened, and what to do."""
    return (
        f"{path} is a pickle, which can run code when it is opened. Convert it on a machine where "
        "you trust it: safetensors.torch.save_file(torch.load(path, weights_only=True), "
        "'model.safetensors')"
    )
