"""Barcodes on disk: ``barcodes.h5ad``, and the count tables of the reference's code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
from scipy import sparse

from napari_cytosae.core._missing import is_missing
from napari_cytosae.core.files import atomic_file, sha256_file
from napari_cytosae.core.patients import REFERENCE, Barcodes
from napari_cytosae.core.provenance import as_uns, provenance
from napari_cytosae.core.quality import FACTS
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_cytosae.core.types import Float64Array, Int64Array

_NUMBERS = ("n_cells", "n_images", "qc_share")
_OWN = ("patient", *_NUMBERS, *FACTS, "diagnosis", "images")
"""Columns of ``obs`` that are ours; others are kept as they are."""


def write_barcodes(barcodes: Barcodes, path: Path | str) -> None:
    """Write ``barcodes.h5ad``; the file is whole or not there.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    obs = pd.DataFrame(
        {name: _whole(getattr(barcodes, name)) for name in _NUMBERS}
        | (
            {}
            if barcodes.facts is None
            else dict(zip(FACTS, barcodes.facts.T, strict=True))
        )
        | {"diagnosis": np.array(barcodes.diagnosis, dtype=object)}
        | {
            name: np.array(values, dtype=object)
            for name, values in barcodes.others.items()
            if name not in _OWN
        }
        | (
            {"images": np.array([" ".join(of) for of in barcodes.images], dtype=object)}
            if barcodes.images
            else {}
        ),
        # Plain objects: pandas 3 would make them its own strings, which h5ad may not hold.
        index=pd.Index(np.array(barcodes.patients, dtype=object), name="patient"),
    )
    var = pd.DataFrame(index=pd.Index(barcodes.concepts.astype(str), dtype=object))
    bounds = {"low": barcodes.low, "high": barcodes.high}
    table = anndata.AnnData(
        X=barcodes.values,
        obs=obs,
        var=var,
        layers={name: layer for name, layer in bounds.items() if layer is not None},
        uns={"cytosae": barcodes.record | {"note": barcodes.note}},
    )
    with atomic_file(path) as temporary:
        table.write_h5ad(temporary, compression="gzip")


def read_barcodes(path: Path | str) -> Barcodes:
    """Read ``barcodes.h5ad``, made here or by anybody who follows the contract.

    Patients with values that are no counts (NaN, infinite, negative) are left out and
    named in `Barcodes.problems`.

    Raises
    ------
    CytoError
        If the file is missing, damaged, or no table of patients x concepts.
    """
    path = Path(path)
    if not path.is_file():
        raise CytoError(f"There is no file {path}: check the path.")
    try:
        table = anndata.read_h5ad(path)
        values = sparse.csr_array(table.X, dtype=np.float32)
    except Exception as error:  # parsers of damaged bytes raise nearly anything
        raise CytoError(
            f"{path} cannot be read as an h5ad file with a matrix of numbers: make it "
            "again with `napari-cytosae barcode`."
        ) from error
    patients = tuple(map(str, table.obs_names))
    record = table.uns.get("cytosae")
    layers = {
        name: sparse.csr_array(table.layers[name], dtype=np.float32)
        if name in table.layers
        else None
        for name in ("low", "high")
    }
    barcodes = Barcodes(
        patients,
        values,
        _concepts(table.var_names, path),
        _numbers(table.obs, "n_cells"),
        _numbers(table.obs, "n_images"),
        _numbers(table.obs, "qc_share"),
        _texts(table.obs, "diagnosis"),
        layers["low"],
        layers["high"],
        dict(record) if isinstance(record, dict) else {},
        facts=np.column_stack([_numbers(table.obs, name) for name in FACTS])
        if any(name in table.obs for name in FACTS)
        else None,
        images=tuple(tuple(text.split()) for text in _texts(table.obs, "images"))
        if "images" in table.obs
        else (),
        others={
            str(name): _texts(table.obs, name)
            for name in table.obs
            if name not in _OWN and not pd.api.types.is_numeric_dtype(table.obs[name])
        },
    )
    return _without_bad_rows(barcodes, path.name)


def read_counts(path: Path | str, names: Path | str) -> Barcodes:
    """Read ``cls_sae_cnt.npy`` of the reference's code, one row a patient.

    Its values are kept as they are: sums over the cells divided by the number of latents,
    where a barcode divides by the number of cells, which such a file does not tell. What
    a head sees is the same once rows are normalised.

    Parameters
    ----------
    path : path-like
        NumPy file, (patients, latents).
    names : path-like
        The patients in the order of the rows: text with one a line, JSON list, or NumPy
        file of text.

    Raises
    ------
    CytoError
        If a file is missing or damaged, holds Python objects, or they do not fit.
    """
    path = Path(path)
    table = _load_npy(path)
    if table.ndim != 2 or table.dtype.kind not in "iuf" or not table.size:
        raise CytoError(
            f"{path} holds {table.dtype} values of shape {table.shape}: a table of numbers "
            "is needed, one row a patient and one column a latent."
        )
    patients = _names(Path(names))
    if len(patients) != len(table):
        raise CytoError(
            f"{names} names {len(patients)} patients and {path} has {len(table)} rows: "
            "give the names file that belongs to it."
        )
    unknown = np.full(len(table), np.nan)
    # The reference's code counts all 257 tokens.
    source = {"source": REFERENCE, "include_cls": True}
    record = record_of(source, {path.name: sha256_file(path)})
    values = sparse.csr_array(table.astype(np.float32, copy=False))
    concepts = np.arange(table.shape[1])
    empty = ("",) * len(patients)
    barcodes = Barcodes(
        patients, values, concepts, unknown, unknown, unknown, empty, record=record
    )
    return _without_bad_rows(barcodes, path.name)


def record_of(
    parameters: dict[str, Any], inputs: dict[str, str], **models: Any
) -> dict[str, Any]:
    """What made barcodes, as ``uns["cytosae"]`` holds it."""
    record = as_uns(provenance([], parameters, **models))
    record["inputs"] = {name.replace("/", "_"): sha for name, sha in inputs.items()}
    return record


def _load_npy(path: Path) -> npt.NDArray[Any]:
    try:
        loaded = np.load(path, allow_pickle=False)
    except OSError as error:
        raise CytoError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # parsers of damaged bytes raise nearly anything
        raise CytoError(
            f"{path} is damaged or holds Python objects, which are never loaded: save it "
            "as a plain NumPy array."
        ) from error
    if not isinstance(loaded, np.ndarray):
        raise CytoError(f"{path} holds several arrays: one is needed.")
    return loaded


def _names(path: Path) -> tuple[str, ...]:
    if path.suffix.lower() == ".npy":
        array = _load_npy(path)
        if array.ndim != 1 or array.dtype.kind != "U":
            raise CytoError(f"{path} does not hold a list of names.")
        return tuple(map(str, array))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CytoError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise CytoError(f"{path} is not text in UTF-8: save it as such.") from error
    if path.suffix.lower() == ".json":
        try:
            listed = json.loads(text)
        except ValueError as error:
            raise CytoError(f"{path} is not JSON.") from error
        if not isinstance(listed, list):
            raise CytoError(f"{path} does not hold a list of names.")
        return tuple(map(str, listed))
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _concepts(names: pd.Index, path: Path) -> Int64Array:
    try:
        concepts = np.array([int(name) for name in names], dtype=np.int64)
    except ValueError:
        concepts = np.array([-1])
    if len(concepts) and concepts.min() < 0:
        raise CytoError(f"{path}: the names of the columns must be numbers of concepts.")
    if len(np.unique(concepts)) != len(concepts):
        raise CytoError(f"{path}: a concept has two columns.")
    return concepts


def _numbers(obs: pd.DataFrame, name: str) -> Float64Array:
    if name not in obs:
        return np.full(len(obs), np.nan)
    return pd.to_numeric(obs[name], errors="coerce").to_numpy(np.float64, copy=True)


def _texts(obs: pd.DataFrame, name: str) -> tuple[str, ...]:
    if name not in obs:
        return ("",) * len(obs)
    column = obs[name].astype(object)
    texts = ("" if pd.isna(text) else str(text).strip() for text in column)
    return tuple("" if is_missing(text) else text for text in texts)


def _whole(numbers: Float64Array) -> npt.NDArray[Any]:
    """Counts as whole numbers where all are known."""
    whole = bool(np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all())
    return numbers.astype(np.int64) if whole and (numbers > 1).any() else numbers


def _without_bad_rows(barcodes: Barcodes, source: str) -> Barcodes:
    """Leave out patients whose values are no counts, and name them."""
    values = barcodes.values
    fault = ~np.isfinite(values.data) | (values.data < 0)
    entry_rows = np.repeat(np.arange(len(barcodes)), np.diff(values.indptr))
    bad = np.zeros(len(barcodes), dtype=bool)
    bad[entry_rows[fault]] = True
    nothing = np.bincount(entry_rows, values.data != 0, minlength=len(barcodes)) == 0
    if not (bad | nothing).any():
        return barcodes
    faults = {
        True: "values that are no counts (NaN, infinite or negative)",
        False: "no value above 0",
    }
    problems = tuple(
        f"{source}, row {row + 1}: patient {barcodes.patients[row]} has "
        f"{faults[bool(bad[row])]} and is left out."
        for row in np.flatnonzero(bad | nothing)
    )
    kept = barcodes.rows(~(bad | nothing))
    if not len(kept):
        raise CytoError(f"{source} has no patient that can be used. {problems[0]}")
    return replace(kept, problems=problems)
