"""Opening a weights file of any container without running anything that is in it.

The first bytes tell safetensors from pickles, never the suffix. Pickles go through torch's
``weights_only`` unpickler, where the run configurations of the published SAEs are replaced
by inert stubs and every other class is refused by name.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import threading
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from napari_cytosae.core.types import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS_NAMES = ("sae_weights.safetensors", "model.safetensors", "pytorch_model.bin")
"""Names of the weights in a folder, as SAELens and the hub lay it out."""

SETTINGS_NAMES = ("cfg.json", "config.json")
"""Names of the settings beside them."""

CONFIG_MODULES = ("src.sae_training.config", "sae_training.config")
CONFIG_CLASSES = ("ViTSAERunnerConfig", "LanguageModelSAERunnerConfig", "Config")

LONGEST_HEADER = 2**20
"""Bytes of the JSON line before a pickle; a file of one endless line is not weights."""

# torch keeps one list of safe globals a process: two loads must not undo each other's.
_UNPICKLING = threading.Lock()


class RunConfig:
    """Stands in for the authors' configuration classes: attributes, no behaviour."""


_STUBS = tuple(
    type(name, (RunConfig,), {"__module__": module, "__qualname__": name})
    for module in CONFIG_MODULES
    for name in CONFIG_CLASSES
)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a weights file holds.

    Attributes
    ----------
    payload : dict
        The unpickled dictionary, or the tensors by name.
    metadata : dict of str to str
        The header of a safetensors file; empty for other containers.
    settings : dict
        The JSON line before a pickle (saev), or the JSON file beside a safetensors file
        (SAELens, the hub).
    mapped : bool
        Whether the tensors are pages of the file, read where they are looked at.
    """

    payload: dict[str, Any]
    metadata: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    mapped: bool = False


def locate(path: Path) -> Path:
    """Return the weights file that `path` means: itself, or the one in that folder.

    Raises
    ------
    CheckpointError
        There is no such file or folder, or no weights in it.
    """
    if path.is_file():
        return path
    if not path.exists():
        raise CheckpointError(
            f"There is no weights file {path}; check the path, or run "
            "`napari-cytosae models list` for the models that can be fetched."
        )
    for name in WEIGHTS_NAMES:
        if (path / name).is_file():
            return path / name
    raise CheckpointError(
        f"The folder {path} holds none of {', '.join(WEIGHTS_NAMES)}; choose the weights "
        "file itself."
    )


def read(path: Path) -> Contents:
    """Open a file, memory-mapped where its container allows.

    Raises
    ------
    CheckpointError
        Damaged, not weights, or a pickle that names a class other than the published
        configurations.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(9)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}); check its permissions."
        ) from error
    if start[8:] == b"{":
        return _read_safetensors(path)
    if start[:1] == b"{":
        return _read_after_header(path)
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return Contents(_unpickle(path, path), mapped=zipfile.is_zipfile(path))
    raise not_weights(path)


def not_weights(path: Path) -> CheckpointError:
    """Say that a file is of no container known here."""
    return CheckpointError(
        f"{path} is not a weights file; choose a .pth, .pt or .safetensors file."
    )


def damaged(path: Path) -> CheckpointError:
    """Say that a file of a known container cannot be read to its end."""
    return CheckpointError(f"{path} is damaged or incomplete; download or copy it again.")


def run_config(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the run configuration in a published checkpoint."""
    value = payload.get("cfg", payload.get("config"))
    if isinstance(value, RunConfig):
        return dict(vars(value))
    return dict(value) if isinstance(value, dict) else {}


def _read_safetensors(path: Path) -> Contents:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise damaged(path) from error
    return Contents(tensors, metadata, _settings_beside(path), mapped=True)


def _settings_beside(path: Path) -> dict[str, Any]:
    for name in SETTINGS_NAMES:
        try:
            settings = json.loads((path.parent / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(settings, dict):
            return settings
    return {}


def _read_after_header(path: Path) -> Contents:
    with path.open("rb") as stream:
        try:
            settings = json.loads(stream.readline(LONGEST_HEADER))
        except ValueError:
            raise not_weights(path) from None
        pickled = stream.read()
    if pickled[:2] != b"PK":
        raise not_weights(path)
    return Contents(_unpickle(path, io.BytesIO(pickled)), settings=settings)


def _unpickle(path: Path, source: Path | io.BytesIO) -> dict[str, Any]:
    # Files of torch before 1.6 are bare pickles, which cannot be mapped.
    zipped = source is path and zipfile.is_zipfile(path)
    if zipped and not any(name.endswith("/data.pkl") for name in _members(path)):
        raise not_weights(path)
    try:
        with _UNPICKLING, torch.serialization.safe_globals(list(_STUBS)):
            payload = torch.load(source, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from None
    except Exception as error:
        # The unpickler runs into damaged bytes with whatever error they lead to.
        raise damaged(path) from error
    if not isinstance(payload, dict):
        raise CheckpointError(
            f"{path} holds a {type(payload).__name__}, not a dictionary of tensors; choose "
            "a file of model weights."
        )
    return payload


def _members(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def _refused(path: Path, error: pickle.UnpicklingError) -> CheckpointError:
    named = re.search(r"(?:GLOBAL|class|function) <?([\w.]+)", str(error))
    what = f"asks for {named[1]}" if named else "is not made of plain tensors"
    return CheckpointError(
        f"{path} {what} and was not opened, since that could run code; use weights from a "
        "source you trust, saved as .safetensors."
    )
