"""Road maps: tiles, blending and writers of whole scenes. Empty until maps are built."""
