"""Everything Qt and napari: the dock and its parts."""
