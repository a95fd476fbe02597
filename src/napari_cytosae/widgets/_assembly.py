"""Which controllers a dock has, and what each of them connects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from napari_cytosae.widgets._cache_controller import CacheController
from napari_cytosae.widgets._catalogue_browser import CatalogueBrowser
from napari_cytosae.widgets._cells_controller import CellsController
from napari_cytosae.widgets._compare_controller import CompareController
from napari_cytosae.widgets._concepts_controller import ConceptsController
from napari_cytosae.widgets._correction_controller import CorrectionController
from napari_cytosae.widgets._count_controller import CountController
from napari_cytosae.widgets._encoding_controller import EncodingController
from napari_cytosae.widgets._explorer_windows import ExplorerWindows
from napari_cytosae.widgets._gallery_controller import GalleryController
from napari_cytosae.widgets._image_controller import ImageController
from napari_cytosae.widgets._inspector_controller import InspectorController
from napari_cytosae.widgets._models_controller import ModelsController
from napari_cytosae.widgets._notes_controller import NotesController
from napari_cytosae.widgets._outlines_controller import OutlinesController
from napari_cytosae.widgets._overlays_controller import OverlaysController
from napari_cytosae.widgets._patient_cells import PatientCells
from napari_cytosae.widgets._patient_controller import PatientController
from napari_cytosae.widgets._patient_layers import PatientLayers
from napari_cytosae.widgets._predict_controller import PredictController
from napari_cytosae.widgets._preview_controller import PreviewController
from napari_cytosae.widgets._rating_controller import RatingController
from napari_cytosae.widgets._saved_sessions import SavedSessions
from napari_cytosae.widgets._selection_controller import SelectionController
from napari_cytosae.widgets._tools_controller import ToolsController
from napari_cytosae.widgets._training_controller import TrainingController
from napari_cytosae.widgets._where_controller import WhereController
from napari_cytosae.widgets._why_controller import WhyController

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari

    from napari_cytosae.widgets.main_widget import CytoSAEWidget


class Controller(Protocol):
    """Listens to session and canvas until it is closed."""

    def close(self) -> None:
        """Stop listening."""


@dataclass(frozen=True, slots=True)
class Controllers:
    """All of a dock's, and those that others ask to do something."""

    models: ModelsController
    image: ImageController
    cells: CellsController
    encoding: EncodingController
    all: tuple[Controller, ...]


def connect(dock: CytoSAEWidget, viewer: napari.Viewer) -> Controllers:
    """Connect the sessions of a dock with its panels and layers."""
    session, desk, jobs, layers = dock.session, dock.desk, dock.jobs, dock.layers
    models = ModelsController(session, desk, jobs, dock.models_panel)
    image = ImageController(session, desk, jobs, layers, dock.cells_panel)
    cells = CellsController(session, desk, layers, dock.cells_panel)
    outlines = OutlinesController(session, desk, jobs, layers)
    correction = CorrectionController(
        session, desk, layers, dock.cells_panel.correction, outlines.outline_anew
    )

    def why_not_ready() -> str:
        return models.why_not_ready() or correction.not_taken_over()

    encoding = EncodingController(session, desk, why_not_ready)
    training = TrainingController(session, desk, dock.models_panel.training, models.add)
    shared: list[Controller] = [
        models,
        training,
        CacheController(session, desk, jobs, dock.models_panel.cache),
        image,
        cells,
        outlines,
        correction,
        PreviewController(session, jobs, layers, dock.cells_panel),
    ]
    shared += _of_concepts(dock, image)
    shared += _of_patients(dock, viewer, why_not_ready, image)
    return Controllers(models, image, cells, encoding, tuple(shared))


def _of_concepts(dock: CytoSAEWidget, image: ImageController) -> list[Controller]:
    """Those of step 3."""
    session, patients, panel = dock.session, dock.patients, dock.concepts_panel
    desk, jobs, layers = dock.desk, dock.jobs, dock.layers
    rating = RatingController(session, desk, jobs, panel)
    windows = ExplorerWindows(session, patients, desk, jobs, panel)
    browser = CatalogueBrowser(desk, jobs, panel)
    saved = SavedSessions(session, patients, desk, image, layers, panel, dock)
    return [
        ConceptsController(session, patients, desk, jobs, panel),
        WhereController(session, desk, jobs, panel),
        OverlaysController(session, desk, jobs, layers, panel),
        SelectionController(session, layers),
        GalleryController(session, desk, jobs, layers, image, panel),
        InspectorController(session, jobs, layers, panel),
        NotesController(session, desk, panel),
        rating,
        saved,
        ToolsController(session, desk, panel, windows, rating, browser, saved),
    ]


def _of_patients(
    dock: CytoSAEWidget,
    viewer: napari.Viewer,
    why_not_ready: Callable[[], str],
    image: ImageController,
) -> list[Controller]:
    """Those of step 4, which share its own session."""
    session, patients, panel = dock.session, dock.patients, dock.patient_panel
    desk, jobs = dock.desk, dock.jobs
    images = PatientLayers(viewer, dock.layers.opened)
    return [
        PredictController(session, patients, desk, images, panel, why_not_ready),
        PatientController(session, patients, desk, images, viewer, panel),
        PatientCells(session, patients, desk, dock.layers, images, image, panel),
        WhyController(session, patients, desk, panel.why),
        CompareController(session, patients, desk, jobs, panel.compare),
        CountController(
            patients, desk, jobs, panel.count, panel.gallery, lambda: panel.counting
        ),
    ]
