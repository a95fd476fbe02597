"""A training that was interrupted, as one safetensors file: all it needs to go on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from napari_cytosae.core._token_stream import Position
from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.training_config import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from napari_cytosae.core.training_config import TrainingConfig

_KEY = "cytosae_training"
_SCHEMA = 1


@dataclass(frozen=True, slots=True, eq=False)
class TrainingState:
    """What a training goes on from.

    Attributes
    ----------
    step : int
        Steps done.
    position : Position
        Of the next batch.
    tensors : dict of str to Tensor
        Weights, Adam's moments, and the counts and estimates kept beside them.
    skipped : dict of str to str
        Images that could not be read, and why.
    """

    step: int
    position: Position
    tensors: Mapping[str, torch.Tensor]
    skipped: Mapping[str, str]


def save_state(
    path: Path, state: TrainingState, config: TrainingConfig, subject: Mapping[str, Any]
) -> None:
    """Write a state; a former one stays until the new one is complete.

    `subject` is what the recipe is applied to: backbone, layer and images, in plain values.
    Random numbers need no place in it: they are all drawn from the seed and the position.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    header = {
        "schema": _SCHEMA,
        "step": state.step,
        "position": asdict(state.position),
        "skipped": dict(state.skipped),
        "config": {**_plain(config), **subject},
    }
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()
    }
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, metadata={_KEY: json.dumps(header)})


def load_state(
    path: Path, config: TrainingConfig, subject: Mapping[str, Any]
) -> TrainingState:
    """Read a state back, if it is one of this very recipe and subject.

    Raises
    ------
    TrainingError
        The file is damaged, or of a training with other settings.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        state = TrainingState(
            step=int(header["step"]),
            position=Position(**header["position"]),
            tensors=tensors,
            skipped=header["skipped"],
        )
        before = dict(header["config"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"{path} does not hold an interrupted training; delete it to begin anew."
        ) from error
    for name, value in {**_plain(config), **subject}.items():
        if before.get(name) != value:
            raise TrainingError(
                f"The interrupted training in {path} has {name} {before.get(name)}, not "
                f"{value}; resume with the same settings, or delete that file."
            )
    return state


def _plain(config: TrainingConfig) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return plain
