"""What a file of weights is made of, told by its first bytes, without torch.

Two kinds can be read without running code from the file: those of `torch.save` that hold plain containers
and tensors, and safetensors. Everything else is refused by name.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from engine.host.input_files import InputFileError, open_regular, refuse_irregular
from engine.run.checkpoint_file import CheckpointError, DamagedCheckpoint

Kind = Literal["torch zip", "torch", "safetensors"]

SUFFIXES = (
    *(".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".tar"),
    *(".params", ".pkl", ".pickle", ".npz", ".h5", ".hdf5", ".caffemodel", ".onnx", ".pb", ".gguf"),
)
"""How the names of files of weights end. Those of the second row are refused by what they are."""

ADVICE = "convert it to safetensors: docs/guide.md, Weights from elsewhere"

_OLD_TORCH = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")
"""How a file of torch.save began before torch 1.6: its magic number, pickled."""

_OTHERS = (
    (bytes.fromhex("1201000000000000"), "is of MXNet"),
    (b"\x89HDF\r\n\x1a\n", "is HDF5, as Keras writes it"),
    (b"GGUF", "is GGUF"),
    (b"\x1f\x8b", "is compressed by gzip; unpack it first"),
    (b"version https://git-lfs", "is a pointer of Git LFS; `git lfs pull` fetches the file"),
    (b"<", "is a web page or XML, not weights"),
    (b"\x80", "is a pickle, which may run any code when it is read"),
)

_MOST_HEADER = 100_000_000
"""Bytes of a safetensors header; the library refuses more."""


def kind_of_weights(path: Path) -> Kind:
    """How to read a file of weights. Raises CheckpointError, one line, for what cannot be read and for what
    is no regular file."""
    try:
        size = refuse_irregular(path)
        with open_regular(path) as stream:
            start = stream.read(512)
    except InputFileError as error:
        problem = "does not exist" if error.problem == "there is no such file" else error.problem
        raise CheckpointError(f"{path}: {problem}") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if start.startswith(b"PK"):
        return _kind_of_zip(path)
    if start.startswith(_OLD_TORCH):
        return "torch"
    header = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and header <= _MOST_HEADER:
        if header + 8 > size:
            raise DamagedCheckpoint(f"{path}: is damaged: it ends within its header")
        return "safetensors"
    for magic, told in _OTHERS:
        if start.startswith(magic):
            told = told if ";" in told else f"{told}; {ADVICE}" if magic != b"<" else told
            raise CheckpointError(f"{path}: {told}")
    if start[257:262] == b"ustar":
        raise CheckpointError(f"{path}: is a tar archive; unpack it first")
    raise DamagedCheckpoint(
        f"{path}: is damaged or not a file of weights; files of torch.save and safetensors can be read"
    )


def _kind_of_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise DamagedCheckpoint(f"{path}: is damaged: {error}") from error
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner:
        raise CheckpointError(f"{path}: is TorchScript, which is code; {ADVICE}")
    if "data.pkl" in inner:
        return "torch zip"
    if any(name.endswith(".npy") for name in names):
        raise CheckpointError(f"{path}: is an archive of NumPy arrays; {ADVICE}")
    raise CheckpointError(f"{path}: is a zip archive without weights of torch.save; unpack it first")
