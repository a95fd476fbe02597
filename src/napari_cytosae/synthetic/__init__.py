"""Smears drawn in code: samples, ground truth for tests, and training images.

Dyes are mixed as optical densities, lit, blurred and photographed; everything follows
from a seed.
"""

from napari_cytosae.synthetic.camera import Camera
from napari_cytosae.synthetic.cell import COMPARTMENTS, CellImage, render_cell
from napari_cytosae.synthetic.recipes import WBC_TYPES
from napari_cytosae.synthetic.smear import Slide, SyntheticSmear, make_slide, render_smear
from napari_cytosae.synthetic.stain import Stain

__all__ = [
    "COMPARTMENTS",
    "WBC_TYPES",
    "Camera",
    "CellImage",
    "Slide",
    "Stain",
    "SyntheticSmear",
    "make_slide",
    "render_cell",
    "render_smear",
]
