"""Opening a weights file of any container without running anything that is in it.

`read` tells safetensors from pickles by the first bytes, never by the suffix. Pickles go
through torch's ``weights_only`` unpickler, where the run configurations of the published
SAEs are replaced by an inert stub and every other class is refused by name.
"""

from __future__ import annotations

import json
import pickle
import re
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from napari_cytosae.core.types import CheckpointError

Tensors = dict[str, torch.Tensor]

CONFIG_MODULES = ("src.sae_training.config", "sae_training.config")
CONFIG_CLASSES = ("ViTSAERunnerConfig", "LanguageModelSAERunnerConfig")

# `safe_globals` is one list for the whole process: two threads must not undo each other's.
_PICKLES = threading.Lock()


class RunConfig:
    """Stands in for the authors' configuration classes: attributes, no behaviour."""


def _stubs() -> list[type[RunConfig]]:
    return [
        type(name, (RunConfig,), {"__module__": module, "__qualname__": name})
        for module in CONFIG_MODULES
        for name in CONFIG_CLASSES
    ]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a weights file holds.

    Attributes
    ----------
    payload : dict
        The unpickled dictionary, or the tensors by name.
    metadata : dict of str to str
        The header of a safetensors file; empty for other containers.
    header : dict or None
        A JSON first line before the pickle (saev).
    """

    payload: dict[str, Any]
    metadata: dict[str, str] = field(default_factory=dict)
    header: dict[str, Any] | None = None


def read(path: Path) -> Contents:
    """Open `path`, memory-mapped where its container allows.

    Raises
    ------
    CheckpointError
        Missing, damaged, not weights, or a pickle that names a class other than the
        published configurations.
    """
    start = first_bytes(path, 16)
    if start[8:9] == b"{":
        return _read_safetensors(path)
    if start[:1] == b"{":
        return _read_after_header(path)
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return Contents(_unpickle(path))
    raise CheckpointError(
        f"{path} is not a weights file; choose a .pth, .pt or .safetensors file."
    )


def read_metadata(path: Path) -> dict[str, str]:
    """Read the header of a safetensors file alone; empty for every other container."""
    if first_bytes(path, 16)[8:9] != b"{":
        return {}
    with _opened(path) as file:
        return dict(file.metadata() or {})


def first_bytes(path: Path, count: int) -> bytes:
    """Read the first `count` bytes of a file that must exist."""
    try:
        with path.open("rb") as stream:
            return stream.read(count)
    except FileNotFoundError:
        raise CheckpointError(
            f"There is no weights file {path}; check the path, or run "
            "`napari-cytosae models list` for the models that can be fetched."
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}); choose a weights file."
        ) from None


def damaged(path: Path) -> CheckpointError:
    """Say that a file of a known container cannot be read to its end."""
    return CheckpointError(f"{path} is damaged or incomplete; download or copy it again.")


def as_config(value: object) -> dict[str, Any]:
    """Return the fields of a run configuration, whether stub instance or dictionary."""
    if isinstance(value, RunConfig):
        return dict(vars(value))
    return dict(value) if isinstance(value, dict) else {}


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise damaged(path) from error


def _read_safetensors(path: Path) -> Contents:
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Contents(tensors, dict(file.metadata() or {}))


def _read_after_header(path: Path) -> Contents:
    with path.open("rb") as stream:
        try:
            header = json.loads(stream.readline())
        except (ValueError, UnicodeDecodeError):
            raise CheckpointError(
                f"{path} is not a weights file; choose a .pth, .pt or .safetensors file."
            ) from None
        return Contents(_load(path, stream, mmap=False), header=header)


def _unpickle(path: Path) -> dict[str, Any]:
    return _load(path, path, mmap=zipfile.is_zipfile(path))


def _load(path: Path, source: Any, *, mmap: bool) -> dict[str, Any]:
    try:
        with _PICKLES, torch.serialization.safe_globals(list(_stubs())):
            payload = torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        # Both words for it: a class off the list, and an instruction that would call one.
        match = re.search(
            r"(?:GLOBAL|build|instantiate|reduce)\s+([\w.]+\.\w+)", str(error)
        )
        if match is None:
            raise damaged(path) from error
        raise CheckpointError(
            f"{path} would run {match[1]} when opened and was refused; use weights from a "
            "source you trust, saved as plain tensors (.safetensors)."
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, OSError) as error:
        raise damaged(path) from error
    except (AttributeError, IndexError, AssertionError, ImportError) as error:
        raise damaged(path) from error
    if not isinstance(payload, dict):
        raise CheckpointError(
            f"{path} holds a {type(payload).__name__}, not a dictionary of tensors; choose "
            "a file of model weights."
        )
    return payload
