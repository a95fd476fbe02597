"""The list of a cohort's images: which patient each belongs to, checked row by row."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cytosae.core._missing import is_missing
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLUMNS = ("patient", "image")
"""A manifest must have these; ``diagnosis`` and all others are optional."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image of one patient, and the line of the manifest that says so.

    `others` are its values in further columns, like scanner or day.
    """

    line: int
    patient: str
    image: Path
    diagnosis: str = ""
    others: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a cohort consists of.

    Attributes
    ----------
    path : Path
    rows : tuple of Row
        All that can be used; a patient's rows lie together, in the order of the file.
    problems : tuple of str
        One sentence for each row that is left out.
    """

    path: Path
    rows: tuple[Row, ...]
    problems: tuple[str, ...] = ()


def read_table(
    path: Path, columns: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a CSV with their line numbers; blank lines are passed over.

    Raises
    ------
    CytoError
        If the file is missing, is no text, or lacks one of `columns`.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restval="", restkey="")
            if not set(columns) <= set(reader.fieldnames or ()):
                raise CytoError(
                    f"{path} needs the columns {' and '.join(columns)}, named on its first "
                    "line and separated by commas."
                )
            for row in reader:
                values = {key: value.strip() for key, value in row.items() if key}
                if any(values.values()):
                    yield reader.line_num, values
    except OSError as error:
        raise CytoError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CytoError(f"{path} is not a CSV file in UTF-8: save it as one.") from error


def read_manifest(path: Path | str) -> Manifest:
    """Read a manifest; rows that cannot be used are named and left out.

    Parameters
    ----------
    path : path-like
        CSV with the columns ``patient`` and ``image`` (relative to the file), and
        ``diagnosis`` where known; text like NaN or None means that it is not. Further
        columns, like scanner or day, go along with the barcodes.

    Raises
    ------
    CytoError
        If the file cannot be read or no row of it can be used.
    """
    path = Path(path)
    by_patient: dict[str, list[Row]] = {}
    owners: dict[Path, Row] = {}
    problems: list[str] = []
    for line, values in read_table(path, COLUMNS):
        diagnosis = values.get("diagnosis", "")
        row = Row(
            line,
            values["patient"],
            path.parent / values["image"],
            "" if is_missing(diagnosis) else diagnosis,
            tuple(
                (name, value)
                for name, value in values.items()
                if name not in (*COLUMNS, "diagnosis") and value and not is_missing(value)
            ),
        )
        fault = _fault(row, values["image"], by_patient, owners)
        if fault:
            problems.append(f"{path.name}, line {line}: {fault}; the row is left out.")
            continue
        owners[row.image.resolve()] = row
        by_patient.setdefault(row.patient, []).append(row)
    rows = tuple(row for rows in by_patient.values() for row in rows)
    if not rows:
        first = f" {problems[0]}" if problems else ""
        raise CytoError(f"{path} lists no image that can be used.{first}")
    return Manifest(path, rows, tuple(problems))


def _fault(
    row: Row, image: str, by_patient: dict[str, list[Row]], owners: dict[Path, Row]
) -> str:
    """What is wrong with a row, in view of those before it; empty when nothing is."""
    if not row.patient:
        return "the patient is not named"
    if not image:
        return f"patient {row.patient} has no image here"
    if not row.image.exists():
        return f"there is no file {row.image}"
    former = owners.get(row.image.resolve())
    if former is not None:
        if former.patient == row.patient:
            return f"{image} is listed on line {former.line} already"
        return f"{image} is an image of patient {former.patient} on line {former.line}"
    for other in by_patient.get(row.patient, ()):
        if row.diagnosis and other.diagnosis and row.diagnosis != other.diagnosis:
            return (
                f"patient {row.patient} has {row.diagnosis} here and {other.diagnosis} on "
                f"line {other.line}"
            )
    return ""


def others_of(rows: Sequence[Row]) -> dict[str, str]:
    """What a patient's rows say in further columns; several values one after the other."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for name, value in row.others:
            found.setdefault(name, []).append(value)
    return {name: "; ".join(dict.fromkeys(values)) for name, values in found.items()}
