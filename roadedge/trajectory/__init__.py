"""GPS points in, and the rasters that a network sees of them."""
