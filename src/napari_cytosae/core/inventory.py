"""Which of the models on this machine fit together, told from the files themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cytosae.core._pair import require_fit
from napari_cytosae.core.checkpoints import inspect
from napari_cytosae.core.registry import list_models
from napari_cytosae.core.types import (
    BackboneInfo,
    CytoError,
    ModelMismatchError,
    Progress,
    SaeInfo,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_cytosae.core.known_models import Role
    from napari_cytosae.core.registry import ModelStatus


@dataclass(frozen=True, slots=True)
class FoundModel:
    """One model and what goes with it.

    Attributes
    ----------
    status : ModelStatus
    info : BackboneInfo, SaeInfo or None
        None where the file is not here, or holds no such thing.
    fits : tuple of str
        For an SAE the backbones here that it reads, for a backbone the SAEs here.
    problem : str
        Why a file that is here cannot be used.
    """

    status: ModelStatus
    info: BackboneInfo | SaeInfo | None = None
    fits: tuple[str, ...] = ()
    problem: str = ""

    @property
    def role(self) -> Role | None:
        """What it is, by its file or by its name."""
        if self.info is None:
            return self.status.entry.role
        return "backbone" if isinstance(self.info, BackboneInfo) else "sae"


def take_inventory() -> Generator[Progress, None, list[FoundModel]]:
    """Look into every model file on this machine, without taking weights into memory.

    Returns
    -------
    list of FoundModel
        All of `registry.list_models`, in its order.
    """
    statuses = list_models()
    opened: list[tuple[ModelStatus, BackboneInfo | SaeInfo | None, str]] = []
    for done, status in enumerate(statuses):
        yield Progress("Looking at the models", done, len(statuses), "models")
        info, problem = None, ""
        if status.state != "not here":
            try:
                info = inspect(status.path)
            except CytoError as error:
                problem = str(error)
        opened.append((status, info, problem))
    return [
        FoundModel(status, info, _fitting(info, opened), problem)
        for status, info, problem in opened
    ]


def _fitting(
    info: BackboneInfo | SaeInfo | None,
    opened: list[tuple[ModelStatus, BackboneInfo | SaeInfo | None, str]],
) -> tuple[str, ...]:
    return tuple(status.entry.name for status, other, _ in opened if _fit(info, other))


def _fit(one: BackboneInfo | SaeInfo | None, other: BackboneInfo | SaeInfo | None) -> bool:
    if isinstance(one, SaeInfo):
        one, other = other, one
    if not isinstance(one, BackboneInfo) or not isinstance(other, SaeInfo):
        return False
    try:
        require_fit(one, other)
    except ModelMismatchError:
        return False
    return True
