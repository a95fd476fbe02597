"""What comparing has done in the background: generators over `core`, no Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cytosae.core.types import ModelMismatchError, Progress

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_cytosae.core.comparison import Comparison
    from napari_cytosae.core.heads import Head
    from napari_cytosae.core.patients import Barcodes
    from napari_cytosae.core.reading import Reading
    from napari_cytosae.core.resemblance import Resemblance

Other = tuple[str, str]
"""``class``, ``concepts``, ``patient`` or ``file``, and its name or, in a file, its row."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """All there is to compare a patient with.

    Attributes
    ----------
    head : Head
    readings : tuple of Reading
        Of all patients that were predicted, the present one first.
    file : Barcodes or None
        Patients from a file.
    """

    head: Head
    readings: tuple[Reading, ...]
    file: Barcodes | None = None

    def others(self) -> list[tuple[str, Other]]:
        """Name and key of each."""
        classes = self.head.classes if self.head.profiles is not None else ()
        found: list[tuple[str, Other]] = [
            (f"barcode of {name}", ("class", name)) for name in classes
        ]
        found += [
            (f"patient {name}", ("patient", name))
            for name in (reading.case.patient for reading in self.readings[1:])
        ]
        found += [
            (f"concepts of {name} (against other classes)", ("concepts", name))
            for name in classes
        ]
        found += [
            (f"patient {title}, from the file", ("file", str(row)))
            for row, title in enumerate(() if self.file is None else self.file.titles)
        ]
        return found


def open_barcodes(
    path: str, head: Head, sae_sha256: str
) -> Generator[Progress, None, Barcodes]:
    """Read the patients of a file, if the head's concepts are theirs.

    `sae_sha256` is of the SAE that read the present patients: a head need not know its own.

    Raises
    ------
    CytoError
        If it cannot be read, or is of another SAE.
    """
    yield Progress("Reading the barcodes", 0, 0)
    from napari_cytosae.core._barcode_files import read_barcodes

    table = read_barcodes(path)
    if table.sae_sha256 and sae_sha256 and table.sae_sha256 != sae_sha256:
        raise ModelMismatchError(
            f"{Path(path).name} was made with another SAE than the patients here: "
            f"{table.sae_sha256[:12]} is not {sae_sha256[:12]}. Make it again with the "
            "models of step 1."
        )
    low, high = (
        None if bound is None else head.columns(replace(table, values=bound))
        for bound in (table.low, table.high)
    )
    return replace(
        table, values=head.columns(table), concepts=head.concepts, low=low, high=high
    )


def compare(known: Known, other: Other) -> Generator[Progress, None, Comparison]:
    """Compare the present patient with another or a class, or a class with the others."""
    yield Progress("Comparing", 0, 0)
    from napari_cytosae.core import class_comparison, comparison

    head, reading = known.head, known.readings[0]
    kind, name = other
    if kind == "concepts":
        return class_comparison.class_concepts(head, name)
    patient = reading.case.patient
    if kind == "class":
        return class_comparison.with_class(head, name, patient, reading.counts)
    here = (patient, reading.counts)
    if kind == "file":
        assert known.file is not None
        row = known.file.rows([int(name)])
        return comparison.with_barcode(here, (row.patients[0], row), head.concepts)
    second = next(one for one in known.readings if one.case.patient == name)
    return comparison.between_patients(here, (name, second.counts), head.concepts)


def resemble(
    known: Known,
) -> Generator[Progress, None, tuple[Resemblance, tuple[Other, ...]]]:
    """How alike all patients and classes are, and the key of each, in the order given."""
    yield Progress("Comparing the patients", 0, 0)
    from scipy import sparse

    from napari_cytosae.core.resemblance import resemblance

    keys: list[Other] = [("patient", one.case.patient) for one in known.readings]
    names = [name for _, name in keys]
    rows = [one.counts_row() for one in known.readings]
    if known.head.profiles is not None:
        keys += [("class", name) for name in known.head.classes]
        names += [f"{name} (mean)" for name in known.head.classes]
        rows.append(sparse.csr_array(known.head.profiles.means))
    if known.file is not None:
        keys += [("file", str(row)) for row in range(len(known.file))]
        names += known.file.titles
        rows.append(known.file.values)
    values = sparse.csr_array(sparse.vstack(rows, format="csr"))
    return resemblance(names, values), tuple(keys)
