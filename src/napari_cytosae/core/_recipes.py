"""Linear classifiers for few patients and very many sparse concepts.

Whatever is learned here ends as one coefficient a class and concept, so that a class score
is a sum over concepts and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

if TYPE_CHECKING:
    import numpy.typing as npt
    from scipy.sparse import csr_array

    from napari_cytosae.core.types import Float32Array, Float64Array, Int64Array

Transform = Literal["fraction", "sqrt", "log", "presence"]
TRANSFORMS: tuple[Transform, ...] = ("fraction", "sqrt", "log", "presence")

FEWEST_CONCEPTS = 50
"""Feature selection keeps at least so many."""

_SMOOTHING = 0.2
"""Of the naive Bayes shares, in mean shares."""

_FLOOR = 70
"""Percentile of the concepts' spread that steady ones are treated as having."""


@dataclass(frozen=True, slots=True)
class Logistic:
    """Multinomial logistic regression with an L2 penalty, in the space of the patients.

    With fewer patients than concepts the penalised solution lies in the patients' span, so
    it is found there exactly. `power` above 1 favours the directions in which patients
    differ most: what many concepts say together over what single ones do.
    """

    transform: Transform
    C: float
    power: float = 1.0


@dataclass(frozen=True, slots=True)
class Bayes:
    """Multinomial naive Bayes on the concepts that differ most between the classes.

    `keep` is the share of the concepts kept, by `variance_ratio` over the training
    patients. A patient counts as much in a small class as in a large one.
    """

    transform: Transform
    keep: float


Recipe = Logistic | Bayes


def transformed(values: csr_array, transform: Transform) -> Float32Array:
    """Barcodes as the classifiers see them, dense; each row depends on itself alone.

    Rows are divided by their sum first, so that counts a cell and fractions are alike;
    ``log`` is log(1 + fraction * number of concepts).
    """
    x = values.toarray().astype(np.float64)
    x /= np.maximum(x.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    if transform == "sqrt":
        x = np.sqrt(x)
    elif transform == "log":
        x = np.log1p(x * x.shape[1])
    elif transform == "presence":
        x = (x > 0) / np.maximum((x > 0).sum(axis=1, keepdims=True), 1)
    return x.astype(np.float32)


class Table:
    """Patients under each transform, with their inner products, computed once.

    Parameters
    ----------
    values : csr_array, (n, k)
        Barcodes.
    """

    def __init__(self, values: csr_array) -> None:
        self._values = values
        self._dense: dict[Transform, Float32Array] = {}
        self._grams: dict[Transform, Float64Array] = {}

    def dense(self, transform: Transform) -> Float32Array:
        """The patients under a transform, (n, k)."""
        if transform not in self._dense:
            self._dense[transform] = transformed(self._values, transform)
        return self._dense[transform]

    def gram(self, transform: Transform) -> Float64Array:
        """Their inner products, (n, n)."""
        if transform not in self._grams:
            x = self.dense(transform)
            self._grams[transform] = (x @ x.T).astype(np.float64)
        return self._grams[transform]


def held_out_scores(
    recipe: Recipe,
    table: Table,
    labels: Int64Array,
    n_classes: int,
    train: Int64Array,
    test: Int64Array,
) -> Float64Array:
    """Class scores of patients that a classifier did not see, (len(test), n_classes)."""
    if isinstance(recipe, Bayes):
        x = table.dense(recipe.transform)
        chosen, weights = _bayes(recipe, x, labels, n_classes, train)
        return _centred(x[np.ix_(test, chosen)] @ weights.T)
    gram = table.gram(recipe.transform)
    inner = gram[np.ix_(train, train)]
    of_patients, intercept = dual(recipe, inner, labels[train], n_classes)
    across = gram[np.ix_(test, train)]
    centred = across - inner.mean(axis=0)
    return _centred(centred @ of_patients + intercept)


def coefficients(
    recipe: Recipe, table: Table, labels: Int64Array, n_classes: int, train: Int64Array
) -> tuple[Float64Array, Float64Array]:
    """The classifier itself: scores are ``transformed(x) @ coefficients.T + intercept``.

    Returns
    -------
    coefficients : ndarray of float64, (n_classes, k)
        They add up to 0 over the classes.
    intercept : ndarray of float64, (n_classes,)
    """
    x = table.dense(recipe.transform)
    if isinstance(recipe, Bayes):
        chosen, weights = _bayes(recipe, x, labels, n_classes, train)
        whole = np.zeros((n_classes, x.shape[1]))
        whole[:, chosen] = weights
        return whole - whole.mean(axis=0), np.zeros(n_classes)
    inner = table.gram(recipe.transform)[np.ix_(train, train)]
    of_patients, intercept = dual(recipe, inner, labels[train], n_classes)
    shares = (of_patients - of_patients.mean(axis=1, keepdims=True)).T
    coefs = (shares.astype(np.float32) @ x[train]).astype(np.float64)
    shift = shares @ inner.mean(axis=0)
    return coefs, intercept - intercept.mean() - (shift - shift.mean())


def _bayes(
    recipe: Bayes,
    x: Float32Array,
    labels: Int64Array,
    n_classes: int,
    train: Int64Array,
) -> tuple[Int64Array, Float32Array]:
    """Concepts kept, and the log of each class's share of each of them."""
    rows = x[train]
    means, ratio = variance_ratio(rows, labels[train], n_classes)
    kept = min(max(round(recipe.keep * x.shape[1]), FEWEST_CONCEPTS), x.shape[1])
    chosen = np.arange(x.shape[1])
    if kept < len(chosen):
        chosen = np.sort(np.argpartition(-ratio, kept - 1)[:kept])
    part = means[:, chosen]
    part = part + _SMOOTHING * part.sum() / part.size
    return chosen, np.log(part / part.sum(axis=1, keepdims=True)).astype(np.float32)


def variance_ratio(
    x: Float32Array, labels: Int64Array, n_classes: int
) -> tuple[Float64Array, Float64Array]:
    """Class means, and how much more they vary than the patients within a class.

    The F statistic of each concept, up to a factor that is the same for all. As in SAM
    (Tusher et al. 2001, doi:10.1073/pnas.091062498) the spread within has a floor, so that
    a concept that few patients show is not taken for a steady one.

    Parameters
    ----------
    x : ndarray of float32, (n, k)
        Patients under a transform.
    labels : ndarray of int, (n,)
        Their classes.
    n_classes : int
        Also those that no patient is of.

    Returns
    -------
    means : ndarray of float64, (n_classes, k)
    ratio : ndarray of float64, (k,)
    """
    n = np.bincount(labels, minlength=n_classes)[:, None]
    of_class = np.zeros((n_classes, len(x)), dtype=np.float32)
    of_class[labels, np.arange(len(x))] = 1
    means = (of_class @ x).astype(np.float64) / np.maximum(n, 1)
    explained = (n * means**2).sum(axis=0)
    squares = np.einsum("ij,ij->j", x, x, dtype=np.float64)
    within = np.maximum(squares - explained, 0)
    between = explained - x.sum(axis=0, dtype=np.float64) ** 2 / len(x)
    varying = within[within > 1e-9 * squares]
    floor = float(np.percentile(varying, _FLOOR)) if len(varying) else 1.0
    return means, between / (within + floor)


def dual(
    recipe: Logistic,
    gram: Float64Array,
    labels: Int64Array,
    n_classes: int,
    counted: Float64Array | None = None,
) -> tuple[Float64Array, Float64Array]:
    """Weights of the centred training patients, (n, n_classes), and the intercept.

    `counted` says how much each of them counts, once by default.
    """
    if len(np.unique(labels)) == 1:
        # Samples of one patient can leave a small fold with a single class.
        return np.zeros((len(labels), n_classes)), np.eye(n_classes)[labels[0]]
    means = gram.mean(axis=0)
    centred = gram - means - means[:, None] + gram.mean()
    eigenvalues, vectors = np.linalg.eigh(centred)
    used = eigenvalues > 1e-7 * eigenvalues.max()
    eigenvalues, vectors = eigenvalues[used], vectors[:, used]
    spread = eigenvalues**recipe.power
    spread /= spread.sum() / len(labels)
    features = vectors * np.sqrt(spread)
    model = LogisticRegression(C=recipe.C, max_iter=2000).fit(features, labels, counted)
    weights = np.zeros((n_classes, features.shape[1]))
    intercept = np.full(n_classes, -10.0)
    if len(model.classes_) == 2:
        weights[model.classes_] = np.vstack((-model.coef_, model.coef_)) / 2
        intercept[model.classes_] = np.hstack((-model.intercept_, model.intercept_)) / 2
    else:
        weights[model.classes_] = model.coef_
        intercept[model.classes_] = model.intercept_
    dual = vectors @ ((np.sqrt(spread) / eigenvalues)[:, None] * weights.T)
    # Features are of centred patients: their weights add up to 0, so that the test
    # patients need no centring of their own.
    return dual - dual.mean(axis=0), intercept


def _centred(scores: npt.NDArray[np.floating]) -> Float64Array:
    scores = scores.astype(np.float64)
    centred: Float64Array = scores - scores.mean(axis=1, keepdims=True)
    return centred
