"""A folder data set to train on, out of a georeferenced scene and the vectors of its roads."""
