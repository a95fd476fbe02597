"""The reference's per-latent statistics over images, in one streaming pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from scipy.sparse import csr_array

    from napari_cytosae.core.types import Float32Array, Int64Array

    Float64Array = npt.NDArray[np.float64]


class Statistics:
    """Accumulates, image by image, what describes each latent.

    For image i and latent k, a[i, k] is the mean activation over all tokens, CLS included.

    Parameters
    ----------
    d_sae : int
        Latents.
    top : int
        Images kept for each latent.

    Attributes
    ----------
    n_images : int
        Images seen.
    values : ndarray of float32, (d_sae, top)
        Largest a of each latent, descending; 0 where fewer images fire.
    indices : ndarray of int64, (d_sae, top)
        Which images those are, counted in the order of `add`; 0 where the value is 0.
    sums : ndarray of float64, (d_sae,)
        Sum of a.
    counts : ndarray of int64, (d_sae,)
        Images with a > 0.
    """

    def __init__(self, d_sae: int, top: int = 10) -> None:
        self.n_images = 0
        self.values: Float32Array = np.zeros((d_sae, top), dtype=np.float32)
        self.indices: Int64Array = np.zeros((d_sae, top), dtype=np.int64)
        self.sums: Float64Array = np.zeros(d_sae)
        self.counts: Int64Array = np.zeros(d_sae, dtype=np.int64)

    def add(self, mean_with_cls: csr_array) -> None:
        """Count a batch of images in.

        Parameters
        ----------
        mean_with_cls : csr_array of float32, (n, d_sae)
            As in `ConceptActivations`.
        """
        batch = mean_with_cls.tocoo()
        rows, latents = batch.coords
        fires = batch.data > 0
        rows, latents, data = rows[fires], latents[fires], batch.data[fires]
        d_sae = len(self.sums)
        self.sums += np.bincount(latents, weights=data, minlength=d_sae)
        self.counts += np.bincount(latents, minlength=d_sae)

        # Few images of a long run still enter a latent's top list.
        better = data > self.values[latents, -1]
        if better.any():
            self._merge(rows[better] + self.n_images, latents[better], data[better])
        self.n_images += int(mean_with_cls.shape[0])

    def _merge(self, images: Int64Array, latents: Int64Array, data: Float32Array) -> None:
        """Put (image, latent, value) entries into the top lists."""
        touched = np.unique(latents)
        top = self.values.shape[1]
        all_latents = np.concatenate([np.repeat(touched, top), latents])
        all_values = np.concatenate([self.values[touched].ravel(), data])
        all_images = np.concatenate([self.indices[touched].ravel(), images])
        # Stable, so among equal values the earlier image stays first.
        order = np.lexsort((-all_values, all_latents))
        first = np.searchsorted(all_latents[order], touched)
        kept = order[first[:, None] + np.arange(top)]
        self.values[touched] = all_values[kept]
        self.indices[touched] = all_images[kept]

    @property
    def mean_acts(self) -> Float32Array:
        """Mean of a over the images that fire, (d_sae,); NaN where none does."""
        mean = np.full(len(self.sums), np.nan)
        np.divide(self.sums, self.counts, out=mean, where=self.counts > 0)
        return mean.astype(np.float32)

    @property
    def sparsity(self) -> Float32Array:
        """Share of images that fire, (d_sae,)."""
        return (self.counts / max(self.n_images, 1)).astype(np.float32)


def label_entropy(values: Float32Array, labels: Int64Array) -> Float32Array:
    """How mixed the labels of a latent's top images are.

    -sum p log(p + 1e-9) with p the share of each label in the sum of the values, as in the
    reference's code (arXiv 2507.12464): 0 for a single label, log(top) for all different.

    Parameters
    ----------
    values : ndarray of float32, (d_sae, top)
        Activations, 0 where there is no image.
    labels : ndarray of int64, (d_sae, top)
        Label of each image.

    Returns
    -------
    ndarray of float32, (d_sae,)
        NaN where all values are 0.
    """
    total = values.sum(axis=1, dtype=np.float64)
    share = np.zeros(values.shape)
    np.divide(values, total[:, None], out=share, where=total[:, None] > 0)
    same = labels[:, :, None] == labels[:, None, :]
    of_label = np.einsum("kij,kj->ki", same, share)
    # Each label is counted where it stands first.
    is_first = same.argmax(axis=2) == np.arange(values.shape[1])
    terms = np.where(is_first, of_label * np.log(of_label + 1e-9), 0.0)
    return np.where(total > 0, -terms.sum(axis=1), np.nan).astype(np.float32)
