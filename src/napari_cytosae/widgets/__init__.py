"""Everything Qt and napari."""
