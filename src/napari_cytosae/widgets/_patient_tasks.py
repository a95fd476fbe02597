"""What step 4 has done in the background: generators over `core`, no Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cytosae.core.types import CytoError, Progress
from napari_cytosae.widgets import _image_tasks, _tasks

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from napari_cytosae.core.case import Case, Known
    from napari_cytosae.core.concepts import ConceptNames
    from napari_cytosae.core.differential import Differential
    from napari_cytosae.core.heads import Head
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.reading import Reading
    from napari_cytosae.core.types import Image, PixelSize
    from napari_cytosae.session_values import ModelChoice


@dataclass(frozen=True, slots=True, eq=False)
class PatientWork:
    """What `predict` needs, read from sessions and viewer before it starts.

    Attributes
    ----------
    head : Head or str
        Loaded, or where it is.
    case : Case or None
        The patient's cells, where they are examined already.
    sources : sequence of Path or LayerPixels
    names : sequence of str
        What each source is called.
    absent : str
        Name of an image that is neither open nor a file; empty where there is none.
    known : mapping
        Cells that count as they are, of `case.examine`.
    typed : mapping
        Pixel sizes that the analyst typed, by sha256.
    leave_out_flagged : bool
        Count cells without a quality flag only.
    spared : frozenset of str
        Reasons that leave no cell out.
    """

    patient: str
    choice: ModelChoice
    loaded: tuple[Models, ConceptNames] | None
    head: Head | str
    case: Case | None
    sources: Sequence[Path | _image_tasks.LayerPixels]
    names: Sequence[str]
    absent: str
    single_cell: bool
    field_of_view_um: float
    known: Mapping[str, Known]
    typed: Mapping[str, PixelSize]
    leave_out_flagged: bool
    spared: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Result of `predict`."""

    models: Models
    names: ConceptNames
    reading: Reading


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Result of `predict_all`; `problems` has a sentence for each patient left out."""

    predicted: tuple[Predicted, ...]
    problems: tuple[str, ...]


def predict(work: PatientWork) -> Generator[Progress, None, Predicted]:
    """Examine a patient, as far as that has not been done, and let the head read the case.

    What is kept of it when it is cancelled: models and names, then each finished image.

    Raises
    ------
    CytoError
        If head and SAE do not belong together, before anything is encoded.
    """
    loaded = work.loaded
    if loaded is None:
        loaded = yield from _tasks.load(work.choice)
    models, names = loaded
    yield Progress("Opening the head", 0, 0, partial=(models, names))
    from napari_cytosae.core import case, reading
    from napari_cytosae.core.builtin_head import open_head

    head = open_head(work.head) if isinstance(work.head, str) else work.head
    if head.sae_sha256 and head.sae_sha256 != models.sae_info.sha256:
        raise CytoError(
            f"This head was trained on the concepts of another SAE than "
            f"{models.sae_info.name}: choose its models in step 1, or another head."
        )
    reading.check(head)
    threshold = reading.threshold_of(head)
    found = work.case
    if (
        found is None
        or threshold not in (None, reading.threshold_in(found))
        or _typed_since(found, work.typed)
        or found.outdated_by(work.known)
    ):
        if work.absent:
            raise CytoError(
                f"{work.absent} is no longer open: open it again, or take it off the list."
            )
        sources: list[Path | Image | Pyramid] = []
        for source in work.sources:
            if isinstance(source, Path):
                sources.append(source)
            else:
                sources.append((yield from _image_tasks.open_image(source)))
        known = dict(work.known)
        for image in () if found is None else found.images:
            known.setdefault(image.sha256, (image.cells, image.crops, image.encoded))
        found = yield from case.examine(
            models,
            work.patient,
            sources,
            single_cell=work.single_cell,
            field_of_view_um=work.field_of_view_um,
            threshold=0.2 if threshold is None else threshold,
            known=known,
            typed=work.typed,
            names=work.names,
        )
    said = yield from reading.read(head, found, work.leave_out_flagged, models, work.spared)
    return Predicted(models, names, said)


def predict_all(works: Sequence[PatientWork]) -> Generator[Progress, None, Predictions]:
    """Predict patients one after the other; those that cannot be are named.

    Each is kept when it is cancelled, as a `Predicted` among the rest.

    Raises
    ------
    CytoError
        If none can be predicted.
    """
    done: list[Predicted] = []
    problems: list[str] = []
    for number, work in enumerate(works, 1):
        if done:
            first = done[0]
            loaded = (first.models, first.names)
            work = replace(work, loaded=loaded, head=first.reading.head)
        try:
            done.append((yield from predict(work)))
        except CytoError as error:
            problems.append(f"{work.patient}: {error}")
            continue
        yield Progress("Predicting", number, len(works), "patients", partial=done[-1])
    if not done:
        raise CytoError(problems[0])
    return Predictions(tuple(done), tuple(problems))


def _typed_since(case: Case, typed: Mapping[str, PixelSize]) -> bool:
    return any(
        image.sha256 in typed and typed[image.sha256].um != image.cells.pixel_size.um
        for image in case.images
    )


def draw_patients() -> Generator[Progress, None, None]:
    """Draw the synthetic patients, which takes too long for the GUI thread."""
    yield Progress("Drawing the patients", 0, 0)
    from napari_cytosae._sample_data import demo_patients

    demo_patients()


def export(
    what: str, path: Path, readings: Sequence[Reading], names: Mapping[int, str]
) -> Generator[Progress, None, Path]:
    """Write ``predictions.csv``, ``why.csv`` or ``barcodes.h5ad``."""
    yield Progress("Exporting", 0, 0)
    import pandas as pd

    from napari_cytosae.core._barcode_files import write_barcodes
    from napari_cytosae.core.export import write_csv
    from napari_cytosae.core.files import atomic_file
    from napari_cytosae.core.patients import together
    from napari_cytosae.core.why import why_table

    if what == "barcodes":
        write_barcodes(together([said.barcodes for said in readings]), path)
        return path
    tables = [
        said.table if what == "predictions" else why_table(said, names) for said in readings
    ]
    table = pd.concat(tables, ignore_index=True)
    with atomic_file(path) as temporary:
        write_csv(table, temporary)
    return path


def propose(
    reading: Reading, called: Mapping[int, str]
) -> Generator[Progress, None, Differential]:
    """Propose what the cells are that were not called; keys are positions in `rows`."""
    yield Progress("Proposing", 0, 0)
    from napari_cytosae.core import differential

    return differential.propose(reading.counts, called)


def export_differential(
    path: Path, reading: Reading, found: Differential
) -> Generator[Progress, None, Path]:
    """Write the differential to `path`, and the type of each cell to ``<path>_cells``."""
    yield Progress("Exporting", 0, 0)
    from napari_cytosae.core.differential import cell_table, count_table
    from napari_cytosae.core.export import write_csv
    from napari_cytosae.core.files import atomic_file

    counts = count_table(found)
    counts.insert(0, "patient", reading.case.patient)
    counts["note"] = reading.note
    cells = cell_table(reading, found)
    cells["note"] = reading.note
    beside = path.with_name(f"{path.stem}_cells{path.suffix}")
    tables = {path: counts, beside: cells}
    for where, table in tables.items():
        with atomic_file(where) as temporary:
            write_csv(table, temporary)
    return path
