"""A table of diagnoses: what is known of patients beside their barcodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_cytosae.core._manifest import read_table
from napari_cytosae.core._missing import is_missing
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cytosae.core.patients import Barcodes


@dataclass(frozen=True, slots=True)
class Diagnoses:
    """Of `read_diagnoses`.

    Attributes
    ----------
    name : str
        Of the file.
    known : dict of str to (str, int)
        Diagnosis of each patient, and the line that says so.
    columns : dict of str to dict of str to str
        Further columns, like scanner or day: value of each patient.
    problems : tuple of str
        One sentence for each row that cannot be used.
    """

    name: str
    known: dict[str, tuple[str, int]]
    columns: dict[str, dict[str, str]]
    problems: tuple[str, ...]

    def _missing(self, table: Barcodes) -> list[str]:
        """A sentence on patients without a barcode, where there are some."""
        missing = [patient for patient in self.known if patient not in set(table.patients)]
        if len(missing) == len(self.known):
            raise CytoError(f"{self.name} names none of the patients of the barcodes.")
        if not missing:
            return []
        named = ", ".join(f"{name} (line {self.known[name][1]})" for name in missing[:3])
        if len(missing) > 3:
            named += f" and {len(missing) - 3} more"
        return [f"{self.name}: no barcode of {named}; left out."]

    def applied(self, table: Barcodes) -> Barcodes:
        """The barcodes with these diagnoses, or with their own where a patient has none.

        Raises
        ------
        CytoError
            If no patient has a barcode.
        """
        merged = [
            self.known[patient][0] if patient in self.known else own
            for patient, own in zip(table.patients, table.diagnosis, strict=True)
        ]
        return replace(
            table,
            diagnosis=tuple(merged),
            problems=(*table.problems, *self.problems, *self._missing(table)),
        )


def read_diagnoses(path: Path) -> Diagnoses:
    """Read a CSV with the columns patient and diagnosis, and others.

    Raises
    ------
    CytoError
        If the file cannot be read.
    """
    known: dict[str, tuple[str, int]] = {}
    columns: dict[str, dict[str, str]] = {}
    problems = []
    for line, row in read_table(path, ("patient", "diagnosis")):
        patient, diagnosis = row["patient"], row["diagnosis"]
        former = known.get(patient)
        fault = ""
        if not patient or not diagnosis:
            fault = "patient or diagnosis is empty"
        elif is_missing(diagnosis):
            fault = f"the diagnosis of {patient} is {diagnosis}, which means none"
        elif former is not None and former[0] != diagnosis:
            fault = f"{patient} has {diagnosis} here and {former[0]} on line {former[1]}"
        if fault:
            problems.append(f"{path.name}, line {line}: {fault}; the row is left out.")
        elif former is None:
            known[patient] = (diagnosis, line)
        for name, value in row.items():
            if name not in ("patient", "diagnosis") and value:
                columns.setdefault(name, {})[patient] = value
    return Diagnoses(path.name, known, columns, tuple(problems))
