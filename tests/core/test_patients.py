"""Barcodes: the definition, its interval, and the files they come from and go to."""

from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from napari_cytosae.core._barcode_files import read_barcodes, read_counts, write_barcodes
from napari_cytosae.core._manifest import read_manifest
from napari_cytosae.core.patient_cells import PatientCells, barcode, token_counts
from napari_cytosae.core.patients import bootstrap, collect
from napari_cytosae.core.types import ConceptActivations, CytoError


def cells(n=40, k=30, seed=0):
    rng = np.random.default_rng(seed)
    return csr_array(rng.poisson(0.4, (n, k)).astype(np.float32))


def patient(name="A", seed=0, diagnosis=""):
    counts = cells(seed=seed)
    return PatientCells(name, counts, np.arange(40) % 4 > 0, 2, diagnosis)


def test_barcode_is_a_mean_over_cells():
    counts = cells()
    dense = counts.toarray().astype(np.float64)
    np.testing.assert_array_equal(barcode(counts), dense.sum(axis=0) / 40)


def test_the_same_cells_twice_change_nothing():
    counts = cells()
    twice = csr_array(np.vstack([counts.toarray()] * 2))
    np.testing.assert_array_equal(barcode(twice), barcode(counts))


def test_cls_is_a_257th_token():
    rng = np.random.default_rng(1)
    f = np.where(rng.random((5, 257, 8)) < 0.2, rng.random((5, 257, 8)), 0)
    sparse = csr_array(np.zeros((5, 8), dtype=np.float32))
    found = ConceptActivations(
        csr_array((f[:, 1:] > 0.2).sum(axis=1).astype(np.float32)),
        sparse,
        sparse,
        sparse,
        csr_array(f[:, 0].astype(np.float32)),
        threshold=0.2,
    )
    np.testing.assert_array_equal(
        token_counts(found, include_cls=True).toarray(), (f > 0.2).sum(axis=1)
    )
    np.testing.assert_array_equal(
        token_counts(found).toarray(), (f[:, 1:] > 0.2).sum(axis=1)
    )


def test_bootstrap_interval_has_the_width_of_the_standard_error():
    counts = cells(n=400)
    low, high = bootstrap(counts, replicates=2000)
    mean, error = barcode(counts), counts.toarray().std(axis=0) / np.sqrt(400)
    assert (low <= mean).all()
    assert (mean <= high).all()
    np.testing.assert_allclose(high - low, 2 * 1.96 * error, rtol=0.15)
    again = bootstrap(counts, replicates=2000)
    np.testing.assert_array_equal(again[0], low)


def test_files_keep_everything(tmp_path):
    record = {"models": {"sae": {"sha256": "abc"}}, "parameters": {"threshold": 0.2}}
    made = collect([patient("A", 0, "x"), patient("B", 1)], record)
    write_barcodes(made, tmp_path / "b.h5ad")
    table = anndata.read_h5ad(tmp_path / "b.h5ad")
    assert list(table.obs["n_cells"]) == [40, 40]
    assert table.obs["n_cells"].dtype.kind == "i"
    assert table.obs.index.name == "patient"
    np.testing.assert_allclose(table.obs["qc_share"], 0.75)
    read = read_barcodes(tmp_path / "b.h5ad")
    assert (read.patients, read.diagnosis) == (("A", "B"), ("x", ""))
    assert read.sae_sha256 == "abc"
    for name in ("values", "low", "high"):
        assert (getattr(read, name) != getattr(made, name)).nnz == 0
    assert not read.problems


def test_anybody_s_h5ad_is_read(tmp_path):
    obs = pd.DataFrame({"diagnosis": pd.Categorical(["x", None])}, index=["p", "q"])
    var = pd.DataFrame(index=["7", "3"])
    table = anndata.AnnData(X=np.array([[0.5, 0.5], [1.0, 0.0]]), obs=obs, var=var)
    table.write_h5ad(tmp_path / "b.h5ad")
    read = read_barcodes(tmp_path / "b.h5ad")
    assert read.sae_sha256 == ""
    assert list(read.concepts) == [7, 3]
    assert read.diagnosis == ("x", "")
    assert np.isnan(read.n_cells).all()


def test_text_that_means_nothing_is_known_is_no_diagnosis(tmp_path):
    made = collect([patient(name, i) for i, name in enumerate("ABCDE")], {})
    words = ("NaN", "n/a", " None ", "<NA>", "nanism")
    write_barcodes(replace(made, diagnosis=words), tmp_path / "b.h5ad")
    assert read_barcodes(tmp_path / "b.h5ad").diagnosis == ("", "", "", "", "nanism")
    rows = [f"{name},{name}.png,{word}" for name, word in zip("ABCDE", words, strict=True)]
    for name in "ABCDE":
        (tmp_path / f"{name}.png").touch()
    listed = tmp_path / "m.csv"
    # B is of a known diagnosis on another line: none here is no contradiction.
    (tmp_path / "B2.png").touch()
    listed.write_text("\n".join(["patient,image,diagnosis", *rows, "B,B2.png,AML"]) + "\n")
    read = read_manifest(listed)
    known = {row.image.name: row.diagnosis for row in read.rows}
    assert not read.problems
    assert {name: what for name, what in known.items() if what} == {
        "B2.png": "AML",
        "E.png": "nanism",
    }


def test_patients_with_values_that_are_no_counts_are_named(tmp_path):
    made = collect([patient("A", 0), patient("B", 1), patient("C", 2)], {})
    values = made.values.copy()
    values.data[values.indptr[1]] = np.nan
    write_barcodes(replace(made, values=values), tmp_path / "b.h5ad")
    read = read_barcodes(tmp_path / "b.h5ad")
    assert read.patients == ("A", "C")
    (problem,) = read.problems
    assert "row 2: patient B" in problem


def test_files_of_no_use_are_refused_in_a_sentence(tmp_path):
    with pytest.raises(CytoError, match="There is no file"):
        read_barcodes(tmp_path / "none.h5ad")
    (tmp_path / "bad.h5ad").write_bytes(b"no hdf5")
    with pytest.raises(CytoError, match="cannot be read as an h5ad"):
        read_barcodes(tmp_path / "bad.h5ad")
    anndata.AnnData(
        X=np.ones((1, 2)), obs=pd.DataFrame(index=["p"]), var=pd.DataFrame(index=["a", "b"])
    ).write_h5ad(tmp_path / "names.h5ad")
    with pytest.raises(CytoError, match="must be numbers of concepts"):
        read_barcodes(tmp_path / "names.h5ad")
    with pytest.raises(CytoError, match="without cells"):
        barcode(cells()[:0])


@pytest.mark.parametrize("suffix", ["txt", "json", "npy"])
def test_names_of_counts_come_in_three_forms(tmp_path, suffix):
    np.save(tmp_path / "c.npy", np.ones((2, 5)))
    path = tmp_path / f"names.{suffix}"
    if suffix == "npy":
        np.save(path, np.array(["P", "Q"]))
    else:
        path.write_text("P\nQ\n" if suffix == "txt" else '["P", "Q"]')
    assert read_counts(tmp_path / "c.npy", path).patients == ("P", "Q")
