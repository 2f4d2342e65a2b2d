"""Frames from a file, a folder, a video or a synthetic flight through a runner into a run folder."""
