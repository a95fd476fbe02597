"""Named models: where they come from, where they lie, and bringing them here.

Nothing touches the network until `download` is driven. `resolve` turns what a user typed
(a name, a hub id, a path) into a file on this machine or says how to get it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_cytosae.core.known_models import (
    HUB_PORTS,
    KNOWN,
    ModelEntry,
    Role,
    hub_entry,
    hub_id,
)
from napari_cytosae.core.training_task import STATE_ENDING, state_path
from napari_cytosae.core.types import CheckpointError, DownloadError

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_cytosae.core.types import Progress

State = Literal["built-in", "downloaded", "local", "not here"]

WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")
"""Endings of weights files."""

_STARTER = Path(__file__).parents[1] / "starter"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model and whether it is on this machine.

    Attributes
    ----------
    entry : ModelEntry
    state : {"built-in", "downloaded", "local", "not here"}
    path : Path
        Where the file is, or where it belongs.
    size : int
        Bytes; before the download as published, 0 where unknown.
    sha256 : str
        Of the downloaded file as remembered; empty for others.
    """

    entry: ModelEntry
    state: State
    path: Path
    size: int
    sha256: str = ""


def models_folder() -> Path:
    """Return the folder of downloaded models (``CYTOSAE_HOME``, else the user's cache).

    Weights files dropped into it can be used by their name without ending.
    """
    home = os.environ.get("CYTOSAE_HOME")
    if home:
        return Path(home).expanduser() / "models"
    import platformdirs

    return Path(platformdirs.user_cache_dir("napari-cytosae")) / "models"


def find_entry(name: str, role: Role | None = None) -> ModelEntry:
    """Return the entry of a registered name or hub id.

    Raises
    ------
    CheckpointError
        If nothing is known under that name, or only in the other role.
    """
    same_name = [entry for entry in KNOWN if entry.name == name.lower()]
    for entry in same_name:
        if role in (None, entry.role):
            return entry
    if same_name:
        entry = same_name[0]
        hint = f"; its backbone is {entry.needs[0]}" if entry.needs else ""
        is_a, not_a = "a backbone", "an SAE"
        if entry.role == "sae":
            is_a, not_a = not_a, is_a
        raise CheckpointError(f"{name} is {is_a}, not {not_a}{hint}.")
    identifier = hub_id(name)
    if identifier is not None and role != "sae":
        return hub_entry(identifier)
    names = ", ".join(sorted({entry.name for entry in KNOWN if role in (None, entry.role)}))
    raise CheckpointError(
        f"There is no model or file {name!r}: give one of {names}, a hub id "
        "(hf-hub:owner/name, backbones only), or the path of a weights file."
    )


def location(entry: ModelEntry) -> Path:
    """Return where the file of `entry` lies, or belongs."""
    if entry.name == "starter":
        return _STARTER / entry.filename
    return (
        models_folder() / entry.name.replace(":", "--").replace("/", "--") / entry.filename
    )


def resolve(reference: str | Path, role: Role) -> Path:
    """Return the weights file that `reference` means; never downloads.

    Parameters
    ----------
    reference : str or Path
        A registered name, a hub id, a path, or the name of a file in `models_folder`.
    role : {"backbone", "sae"}
        What it is wanted as.

    Raises
    ------
    CheckpointError
        If it is nowhere on this machine; the sentence says how to get it.
    """
    text = str(reference)
    if isinstance(reference, str) and text.lower() in {entry.name for entry in KNOWN}:
        return _downloaded(find_entry(text, role))
    path = Path(text).expanduser()
    if path.exists():
        return path
    for dropped in _dropped_files():
        if text in (dropped.name, dropped.stem):
            return dropped
    if (kept := state_path(path)).exists():
        raise CheckpointError(
            f"{text} is not trained to its end: {kept} holds what is done; finish it with "
            "`napari-cytosae train-sae --resume`."
        )
    if isinstance(reference, Path) or path.suffix.lower() in WEIGHTS:
        raise CheckpointError(f"There is no file {text}: check the path.")
    return _downloaded(find_entry(text, role))


def _downloaded(entry: ModelEntry) -> Path:
    path = location(entry)
    if path.is_file():
        return path
    if entry.name == "starter":
        raise CheckpointError(
            f"The built-in starter model is missing from {path.parent}: install "
            "napari-cytosae again."
        )
    raise CheckpointError(
        f"{entry.name} is not on this machine: get it with `napari-cytosae models get "
        f"{entry.name}`, or put {entry.filename} into {path.parent}."
    )


def backbone_for(sae: str | Path) -> str:
    """Return the backbone that goes with `sae` where the user names none."""
    for entry in KNOWN:
        if entry.role == "sae" and entry.name == str(sae).lower() and entry.needs:
            return entry.needs[0]
    return "starter"


def list_models() -> list[ModelStatus]:
    """Return every known model, then hub downloads and files dropped into the folder."""
    hub = dict.fromkeys(HUB_PORTS)
    for folder in sorted(models_folder().glob("hf-hub--*--*")):
        owner, _, name = folder.name.removeprefix("hf-hub--").partition("--")
        hub[f"{owner}/{name}"] = None
    statuses = [status(entry) for entry in (*KNOWN, *map(hub_entry, hub))]
    for path in _dropped_files():
        entry = ModelEntry(path.stem, None, "a file of yours", path.name)
        statuses.append(ModelStatus(entry, "local", path, path.stat().st_size))
    return statuses


def status(entry: ModelEntry) -> ModelStatus:
    """Return where a known model stands on this machine."""
    from napari_cytosae.core.retrieval import read_records

    path = location(entry)
    if not path.is_file():
        return ModelStatus(entry, "not here", path, entry.size)
    state: State = "built-in" if entry.name == "starter" else "downloaded"
    remembered = read_records(models_folder()).get(entry.name, {})
    return ModelStatus(
        entry, state, path, path.stat().st_size, str(remembered.get("sha256", ""))
    )


def download(name: str, *, accept_change: bool = False) -> Generator[Progress, None, Path]:
    """Bring a model and whatever it needs to this machine; what is here stays.

    A file put into its folder by hand is checked and taken.

    Parameters
    ----------
    name : str
        Registered name or hub id. ``cytosae`` brings DinoBloom-B too.
    accept_change : bool
        Take a file that differs from the one remembered under this name, where its
        authors publish no checksum.

    Returns
    -------
    Path
        Of the file of `name`.

    Raises
    ------
    CheckpointError
        If nothing is known under that name.
    DownloadError
        What happened, and for every file still missing the address, its name and folder;
        the other ways to come by them.
    """
    from napari_cytosae.core.retrieval import retrieve

    entry = find_entry(name)
    if entry.name == "starter":
        return _downloaded(entry)
    wanted = [*map(find_entry, entry.needs), entry]
    for one in wanted:
        try:
            yield from retrieve(
                one, location(one), models_folder(), accept_change=accept_change
            )
        except DownloadError as error:
            missing = [e for e in wanted if e is one or not location(e).is_file()]
            raise DownloadError(f"{error} {_other_ways(entry, missing)}") from error
    return location(entry)


def _other_ways(entry: ModelEntry, missing: list[ModelEntry]) -> str:
    """How to come by some files without a download by this package."""
    by_hand = "; ".join(
        f"download {one.url}, save it as {one.filename} in {location(one).parent}"
        for one in missing
    )
    options = " ".join(f"--{one.role} PATH" for one in missing)
    return (
        f"By hand: {by_hand}. From a machine with internet: `napari-cytosae models get "
        f"{entry.name}` and `napari-cytosae models pack {entry.name} FILE.zip` there, "
        "`napari-cytosae models unpack FILE.zip` here. Or "
        f"use a local file ({options}, in the dock Choose files)."
    )


def _dropped_files() -> list[Path]:
    folder = models_folder()
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in WEIGHTS
        and not path.name.startswith(".")
        and not path.name.endswith(STATE_ENDING)
    )
