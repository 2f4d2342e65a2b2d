"""`score_files`: all tiles, in one process or in several, and what they come to."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from roadedge.atomic import write_json
from roadedge.environment import environment, usable_cpus
from roadedge.errors import DataError, EnvironmentFault, OutputError, UsageError
from roadedge.evaluation.progress import steps_bar
from roadedge.run_folder import open_run_folder
from roadedge.scoring.page import write_page
from roadedge.scoring.pairing import Pair, Pairs, pair
from roadedge.scoring.report import ScoreResult, TileFailure
from roadedge.scoring.settings import ScoreSettings
from roadedge.scoring.show import write_scores
from roadedge.scoring.tile import TileScore, score_tile

FEW = 8  # tiles that one process has done before others have started
PICTURES = "pictures"
ENVIRONMENT = "env.json"


def score_files(
    prediction: str | Path,
    truth: str | Path,
    settings: ScoreSettings | None = None,
    output: Path | None = None,
    workers: int | None = 1,
    overwrite: bool = False,
    progress: bool = False,
    layers: tuple[str | None, str | None] = (None, None),
) -> ScoreResult:
    """Score a file against a file, or a folder (or table) against another.

    A tile that cannot be read is reported and the rest goes on. After an interruption what was scored so far is
    written, and the interruption goes on. Where the folder cannot be written any more, what was scored is returned
    with that `trouble`.

    Args:
        prediction: mask or probability (PNG, TIF), GeoJSON, GeoPackage, GeoParquet, Shapefile, FlatGeobuf, SpaceNet's
            CSV, a folder of such files, or a map's.
        truth: the same; what is paired has one name.
        settings: default ScoreSettings(), pixels only.
        output: run folder for `metrics.json`, `samples.csv`, `pictures/` and `index.html`; None writes nothing.
        workers: processes; None for one a processor where there are more than a few tiles. More than one need a main
            module that can be imported again.
        overwrite: empty a run folder that is in the way.
        progress: draw a bar on stderr where that is a terminal.
        layers: names of those of the prediction and of the truth; None for `edges`, or the only one of lines.

    Raises:
        DataError: nothing to pair, or not one tile could be scored.
        UsageError: settings that do not go together.
        OutputError: the folder cannot be written.
    """
    settings = settings or ScoreSettings()
    if workers is not None and workers < 1:
        raise UsageError(f"--workers must be at least 1, got {workers}")
    prediction, truth = Path(prediction), Path(truth)
    pairs = pair(prediction, truth, layers)
    folder = None
    if output is not None:
        folder = open_run_folder("score", "score", output, overwrite, [prediction, truth])
        (folder / PICTURES).mkdir()
    try:
        if folder is not None:
            write_json(folder / ENVIRONMENT, environment())  # and what tells the folder of a run that was killed
        return _score(pairs, (str(prediction), str(truth)), settings, folder, workers, progress)
    finally:
        if folder is not None:
            with contextlib.suppress(OSError):  # they hold results; of a run of which nothing came they are taken away
                (folder / PICTURES).rmdir()
                if not (folder / "metrics.json").exists():
                    (folder / ENVIRONMENT).unlink()
                folder.rmdir()


def _score(
    pairs: Pairs,
    sides: tuple[str, str],
    settings: ScoreSettings,
    folder: Path | None,
    workers: int | None,
    progress: bool,
) -> ScoreResult:
    machine = environment()
    scored: dict[str, TileScore | TileFailure] = {}
    interruption: KeyboardInterrupt | None = None
    trouble: OutputError | None = None
    try:
        with steps_bar("scoring", len(pairs.found), progress) as tell:
            for name, one in _each(pairs, settings, folder, workers):
                scored[name] = one
                tell()
    except KeyboardInterrupt as stop:
        interruption = stop
    except OutputError as error:  # a full disk takes pictures, not what was scored
        trouble = error
    ordered = [scored[one.name] for one in pairs.found if one.name in scored]
    tiles = tuple(one for one in ordered if isinstance(one, TileScore))
    failures = tuple(one for one in ordered if isinstance(one, TileFailure))
    if not tiles:
        if interruption is not None:
            raise interruption
        if trouble is not None:
            raise trouble
        raise DataError(f"none of the {len(failures)} tiles could be scored; the first: {failures[0].error}")
    result = ScoreResult(
        tiles, failures, pairs.unpredicted, pairs.untrue, tuple(pairs.lines()), settings, sides, machine,
        interruption is None and trouble is None, folder,
    )  # fmt: skip
    if folder is not None:
        try:
            _write(result, folder)
        except KeyboardInterrupt as stop:  # it takes a second, and the tiles took all the time
            interruption = interruption or stop
            _write(result, folder)
        except OutputError as error:
            trouble = trouble or error
    if interruption is not None:
        where = "nothing was written" if folder is None else f"see {folder}"
        raise KeyboardInterrupt(f"{len(tiles)} of {len(pairs.found)} tiles were scored, {where}") from interruption
    return result if trouble is None else dataclasses.replace(result, trouble=trouble)


def _write(result: ScoreResult, folder: Path) -> None:
    write_scores(result, folder)
    write_page(result, folder)


def _each(
    pairs: Pairs, settings: ScoreSettings, folder: Path | None, workers: int | None
) -> Iterator[tuple[str, TileScore | TileFailure]]:
    """Every tile by its name, as it is done. Of a single pair of files an error is the answer, and is raised."""
    pictures = None if folder is None else folder / PICTURES
    count = len(pairs.found)
    wanted = workers or (usable_cpus() if count >= FEW else 1)
    if min(wanted, count) > 1:
        yield from _in_processes(pairs.found, settings, pictures, min(wanted, count))
        return
    for one in pairs.found:
        yield one.name, score_tile(one, settings, pictures) if pairs.together else _tried(one, settings, pictures)


def _tried(one: Pair, settings: ScoreSettings, pictures: Path | None) -> TileScore | TileFailure:
    try:
        return score_tile(one, settings, pictures)
    except DataError as error:
        return TileFailure(one.name, str(error))


def _in_processes(
    pairs: Sequence[Pair], settings: ScoreSettings, pictures: Path | None, workers: int
) -> Iterator[tuple[str, TileScore | TileFailure]]:
    context = multiprocessing.get_context("spawn")  # a fork would copy locks of OpenCV's threads
    pool = ProcessPoolExecutor(workers, context, _begin)
    try:
        names = {pool.submit(_tried, one, settings, pictures): one.name for one in pairs}
        for done in as_completed(names):
            yield names[done], done.result()
    except BrokenProcessPool as error:
        raise EnvironmentFault(
            "a process was killed, perhaps for want of memory; run again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """In a new process: the interruption is the parent's, a thread is enough, and it ends where that was killed."""
    import cv2

    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """Wait until the parent is gone; a process that it left behind would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
