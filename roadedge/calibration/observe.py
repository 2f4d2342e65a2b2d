"""Run a network on calibration samples in ONNX Runtime and count how large the values between its layers become."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roadedge.calibration.ranges import Histogram
from roadedge.errors import ModelFileError, UsageError
from roadedge.preprocess import Feeds

if TYPE_CHECKING:
    import onnx

MOST = 1 << 18  # values of one map that are counted for each sample; its largest magnitude is exact


def observe(
    model: onnx.ModelProto,
    values: Sequence[str],
    feeds: Iterable[Feeds],
    batch: int | None = 1,
    threads: int | None = None,
) -> dict[str, Histogram]:
    """Count the magnitudes of intermediate values over all feeds.

    In memory are the maps of one batch and a histogram for each value, whatever the count of samples.

    Args:
        model: float.
        values: names of values in the graph.
        feeds: under the names of the graph's inputs, as the graph takes them.
        batch: windows that the graph takes at once; None where it takes any: one after the other.
        threads: of ONNX Runtime; default its own.

    Raises:
        ModelFileError: ONNX Runtime does not run the graph.
        NonFiniteError: a value became NaN or infinite; names it.
    """
    run = _runner(model, values, threads)
    histograms = {name: Histogram() for name in values}
    for fed in feeds:
        for part in _batches(fed, batch or 1):
            found = run(part)
            for name, histogram in histograms.items():
                histogram.add(part[name] if name in part else found.pop(name), f"the value {name}", MOST)
    return histograms


def tracked(feeds: Iterable[Feeds], total: int, enabled: bool) -> Iterator[Feeds]:
    """The feeds, with a bar on stderr and the time left where that is a terminal."""
    if not (enabled and sys.stderr.isatty()):
        yield from feeds
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(feeds, "calibrating", total=total, console=Console(stderr=True), transient=True)


def _runner(
    model: onnx.ModelProto, values: Sequence[str], threads: int | None
) -> Callable[[Feeds], dict[str, NDArray[Any]]]:
    import onnx
    import onnxruntime

    if threads is not None and threads < 1:
        raise UsageError(f"--threads must be at least 1, got {threads}")
    fed = {port.name for port in model.graph.input}
    inner = [name for name in values if name not in fed]
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    del opened.graph.output[:]
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no common base below Exception
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"ONNX Runtime does not load this graph ({reason}); export it again") from error

    def run(part: Feeds) -> dict[str, NDArray[Any]]:
        return dict(zip(inner, session.run(inner, part), strict=True)) if inner else {}

    return run


def _batches(feeds: Feeds, batch: int) -> Iterator[Feeds]:
    """`batch` windows at a time; the last one is repeated where they run out."""
    windows = len(next(iter(feeds.values())))
    for start in range(0, windows, batch):
        rows = np.minimum(np.arange(start, start + batch), windows - 1)
        yield {name: np.ascontiguousarray(plane[rows]) for name, plane in feeds.items()}
