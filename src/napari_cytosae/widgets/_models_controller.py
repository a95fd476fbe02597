"""Connects step 1 with the session: choosing, downloading and loading models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cytosae.core import registry
from napari_cytosae.session_values import ModelChoice
from napari_cytosae.widgets import _tasks
from napari_cytosae.widgets._connections import Connections
from napari_cytosae.widgets.models_panel import Loaded, ModelSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core.inventory import FoundModel
    from napari_cytosae.core.registry import ModelStatus
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, Jobs
    from napari_cytosae.widgets.models_panel import ModelsPanel

_NAMED = (("starter", "Starter (built in)"), ("cytosae", "CytoSAE + DinoBloom-B"))


_LANE = "inventory"


class ModelsController:
    """Keeps `panel` and `session` in step."""

    def __init__(
        self, session: Session, desk: Desk, jobs: Jobs, panel: ModelsPanel
    ) -> None:
        self._session, self._desk, self._jobs, self._panel = session, desk, jobs, panel
        self._own: list[ModelSet] = []
        self._sets: list[ModelSet] = []
        panel.set_chosen.connect(self._on_set)
        panel.files_chosen.connect(self._on_files)
        panel.device_chosen.connect(self._on_device)
        panel.precision_chosen.connect(self._on_precision)
        panel.get_clicked.connect(lambda: self.get(self.current().get))
        panel.models.get_clicked.connect(self.get)
        panel.load_clicked.connect(self.load)
        panel.models_wanted.connect(self.take_inventory)
        desk.busy_changed.connect(self._on_busy)
        self._connections = Connections(
            (session.choice_changed, self._show),
            (session.models_changed, self._show_loaded),
        )
        self._show()

    def close(self) -> None:
        """Leave the session."""
        self._connections.close()

    def current(self) -> ModelSet:
        """The chosen set."""
        return self._sets[self._index()]

    def why_not_ready(self) -> str:
        """What to do before the chosen models can be used; empty where nothing is."""
        chosen = self.current()
        if chosen.here:
            return ""
        return f"{chosen.title} is not on this machine yet; click Download in step 1."

    def load(self) -> None:
        """Load the chosen models now rather than with the first encoding."""
        missing = self.why_not_ready()
        if missing:
            self._desk.fail(missing)
            return
        choice = self._session.choice

        def done(loaded: Any) -> str:
            if self._session.choice != choice:
                return ""
            self._session.set_models(*loaded)
            return "The models are loaded."

        self._desk.run("Loading the models", lambda: _tasks.load(choice), done)

    def get(self, name: str) -> None:
        """Download a model and what it needs."""

        def done(path: Path) -> str:
            self._show()
            self._renew_inventory()
            return f"Downloaded to {path.parent}."

        self._desk.run(f"Downloading {name}", lambda: _tasks.download(name), done)

    def add(self, backbone: str, sae: Path) -> None:
        """List a pair of files, or of a name and a file; the choice stays as it is."""
        entry = ModelSet(_pair_title(backbone, str(sae)), backbone, str(sae))
        if entry not in self._own:
            self._own.append(entry)
        self._show()
        self._renew_inventory()

    def take_inventory(self) -> None:
        """Find out what fits what, and list the pairs that are here."""

        def ended(end: Ended) -> None:
            if end.value is not None:
                self._panel.models.set_models(end.value)
                self._panel.models.set_busy(self._desk.busy)
                self._panel.training.set_backbones(backbones_here(end.value))
                self._own += [s for s in fitting_sets(end.value) if s not in self._own]
                self._show()

        self._jobs.run(
            _LANE,
            "Looking at the models",
            _tasks.take_inventory,
            on_ended=ended,
            on_failed=self._desk.fail_job,
        )

    def _renew_inventory(self) -> None:
        if self._panel.lists_models:
            self.take_inventory()

    def _index(self) -> int:
        choice = self._session.choice
        for index, entry in enumerate(self._sets):
            if (entry.backbone, entry.sae) == (choice.backbone, choice.sae):
                return index
        return 0

    def _show(self, _: Any = None) -> None:
        self._sets = [*named_sets(), *self._own]
        choice = self._session.choice
        if all((s.backbone, s.sae) != (choice.backbone, choice.sae) for s in self._sets):
            self._sets.append(
                ModelSet(
                    _pair_title(choice.backbone, choice.sae), choice.backbone, choice.sae
                )
            )
        self._panel.set_sets(self._sets, self._index())
        self._panel.set_choice(self._session.choice)
        self._show_loaded()

    def _show_loaded(self, _: Any = None) -> None:
        models = self._session.models
        self._panel.set_loaded(
            None
            if models is None
            else Loaded(
                models.backbone_info,
                models.sae_info,
                models.layer,
                models.device.type,
                models.precision,
                models.weights_bytes,
                models.load_seconds,
            )
        )

    def _on_set(self, index: int) -> None:
        chosen = self._sets[index]
        self._choose(backbone=chosen.backbone, sae=chosen.sae)

    def _on_files(self, backbone: str, sae: str) -> None:
        self.add(backbone, Path(sae))
        self._choose(backbone=backbone, sae=sae)

    def _on_device(self, device: str) -> None:
        self._choose(device=device)

    def _on_precision(self, precision: str) -> None:
        self._choose(precision=precision)

    def _choose(self, **changes: str) -> None:
        now = self._session.choice
        fields = ("backbone", "sae", "device", "precision")
        self._session.choose(
            ModelChoice(**{f: changes.get(f, getattr(now, f)) for f in fields})
        )

    def _on_busy(self, busy: bool) -> None:
        self._panel.set_busy(busy)
        if not busy:
            self._show_loaded()


def backbones_here(found: Sequence[FoundModel]) -> dict[str, str]:
    """What each backbone on this machine is called, by the reference to load it with."""
    return {
        _reference(model.status): model.status.entry.name
        for model in found
        if model.role == "backbone" and model.info is not None
    }


def _reference(status: ModelStatus) -> str:
    return str(status.path) if status.state == "local" else status.entry.name


def fitting_sets(found: Sequence[FoundModel]) -> list[ModelSet]:
    """The user's own SAEs, each with every backbone here that it fits."""
    where = {m.status.entry.name: m.status for m in found if m.role == "backbone"}
    sets = []
    for model in found:
        if model.role != "sae" or model.status.state != "local":
            continue
        for name in model.fits:
            reference = _reference(where[name])
            sae = str(model.status.path)
            sets.append(ModelSet(_pair_title(reference, sae), reference, sae))
    return sets


def _pair_title(backbone: str, sae: str) -> str:
    return f"{Path(sae).name} + {Path(backbone).name}"


def named_sets() -> list[ModelSet]:
    """The sets everybody has, and whether they are on this machine."""
    known = {(s.entry.name, s.entry.role): s for s in registry.list_models()}
    sets = []
    for name, title in _NAMED:
        backbone = registry.backbone_for(name)
        statuses = [known[name, "sae"], known[backbone, "backbone"]]
        missing = [s for s in statuses if s.state == "not here"]
        if missing and name != "starter":
            title += f" (get, {sum(s.size for s in missing) / 1e6:.0f} MB)"
        terms = "\n".join(
            "; ".join(filter(None, [s.entry.title, s.entry.licence, s.entry.citation]))
            for s in statuses
        )
        get = name if name != "starter" else ""
        sets.append(ModelSet(title, backbone, name, not missing, get, terms))
    return sets
