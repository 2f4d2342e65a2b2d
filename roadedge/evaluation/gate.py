"""The accuracy gate: what a network loses by its precision, on real samples, by the path that is deployed.

All candidates are fed the same samples one after the other, each in several conditions; the first candidate is the
reference. A candidate passes where the lower end of the paired interval of its share of the reference's G_IoU reaches
`min_ratio` in every condition that the network can be fed, and where no output was NaN or infinite. docs/gate.md
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.data.corrupt import parse_corruptions
from roadedge.data.folder import LabelledSample
from roadedge.environment import environment
from roadedge.errors import NonFiniteError, UsageError
from roadedge.evaluation.candidates import Candidate, check_candidates, common_spec, opened, parse_candidates
from roadedge.evaluation.gate_report import GateResult, Measured, PlaceLoss, Verdict, gate_lines
from roadedge.evaluation.judge import fed_as_asked
from roadedge.evaluation.progress import steps_bar
from roadedge.evaluation.settings import EvalSettings
from roadedge.evaluation.sources import SEMI_SYNTHETIC, Source, open_sources
from roadedge.evaluation.speed import interleaved_ms, load_per_cpu
from roadedge.metrics.pixel import PixelCounts, count_pixels, global_iou, iou_ratio, paired_bootstrap
from roadedge.postprocess import postprocess
from roadedge.preprocess import Feeds
from roadedge.runners import Runner
from roadedge.sample import Sample
from roadedge.spec import ModelSpec, sha256_of
from roadedge.weights import find_model

__all__ = ["CONDITIONS", "Candidate", "GateResult", "gate_lines", "parse_candidates", "run_gate"]

# What is fed, the corruptions, and the inputs that a network must have for the condition to mean something to it.
CONDITIONS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "clear": ("both", "", ()),
    "fog": ("both", "fog:0.8", ("image",)),
    "sparse": ("both", "points:0.05", ("second",)),
    "image-only": ("image", "", ("image", "second")),
}
MIN_RATIO = 0.99  # MLPerf's rule: 99 % of the reference's quality
FEW_SAMPLES, FEW_PLACES = 30, 10
ROUNDS = 6
WORST = 3  # places that are named where a candidate is rejected


@dataclass(slots=True)
class _Tally:
    """What one candidate did in one condition, sample by sample."""

    counts: list[PixelCounts] = field(default_factory=list)
    equal_pixels: int = 0
    pixels: int = 0
    not_finite: int = 0


def run_gate(
    candidates: Sequence[Candidate],
    roots: Sequence[str | Path],
    min_ratio: float = MIN_RATIO,
    settings: EvalSettings | None = None,
    threads: int | None = None,
    rounds: int = ROUNDS,
    progress: bool = False,
) -> GateResult:
    """Measure all candidates side by side and judge them.

    Args:
        candidates: the reference first; each of the same network, so that all are fed alike.
        roots: folder data sets, `city` or `city:SEED`.
        min_ratio: what share of the reference's G_IoU must be kept, at the lower end of the interval.
        settings: split, seed, draws, windows of a city and so on; `inputs` and `corruptions` are the gate's own.
        threads: of each back-end.
        rounds: turns of timed calls of each candidate; 0 measures no times.
        progress: draw a bar on stderr where that is a terminal.

    Raises:
        UsageError: no candidate, a label twice, or a ratio outside (0, 1].
        SpecMismatchError: candidates of networks that are fed differently.
        DataError: a sample that cannot be read; half a set is no gate.
        and what `open_runner` raises.
    """
    check_candidates(candidates)
    if not 0 < min_ratio <= 1:
        raise UsageError(f"--min-iou-ratio must lie above 0 and at most at 1, got {min_ratio:g}")
    chosen = dataclasses.replace(settings or EvalSettings(), inputs="both", corruptions=())
    with contextlib.ExitStack() as stack:
        runners = {c.label: stack.enter_context(opened(c, threads)) for c in candidates}
        spec = common_spec(runners)
        conditions = conditions_of(spec, chosen)
        sources = open_sources(roots, spec, chosen)
        tell = stack.enter_context(steps_bar("accuracy gate", sum(len(s.ids) for s in sources) + rounds, progress))
        tallies = {(label, name): _Tally() for label in runners for name in conditions}
        first: dict[str, Feeds] = {}
        without_second = 0
        for item in _items(sources):
            without_second += item.sample.second is None
            for name, one in conditions.items():
                _compare(item, runners, one, {label: tallies[label, name] for label in runners}, first)
            tell()
        load = load_per_cpu()
        calls = {label: _call(runner, first[label]) for label, runner in runners.items()}
        times = interleaved_ms(calls, rounds, lambda number: tell()) if rounds else {}
        shape = next(iter(first[candidates[0].label].values())).shape[1:3]
        verdicts = _judge(candidates, runners, tallies, list(conditions), sources, times, min_ratio, chosen)
        notes = _notes(sources, without_second, runners)
    simulated = any(source.data == SEMI_SYNTHETIC for source in sources)
    return GateResult(
        verdicts=verdicts,
        min_ratio=min_ratio,
        data=SEMI_SYNTHETIC if simulated else sources[0].data,
        sources=tuple(_source_facts(source) for source in sources),
        conditions={name: {"fed": list(one.fed(spec)), "corruptions": [str(c) for c in one.corruptions]}
                    for name, one in conditions.items()},
        left_out=tuple(name for name in CONDITIONS if name not in conditions),
        notes=tuple(notes),
        settings={"split": chosen.split, "seed": chosen.seed, "bootstrap": chosen.bootstrap},
        timed_shape=(int(shape[0]), int(shape[1])),
        load_per_cpu=load,
        environment=environment(),
    )  # fmt: skip


def conditions_of(spec: ModelSpec, settings: EvalSettings) -> dict[str, EvalSettings]:
    """The conditions that this network can be fed, each as settings; a network with one input has fewer."""
    own = {"second" if name != "image" else name for name in spec.inputs}
    return {
        name: dataclasses.replace(settings, inputs=inputs, corruptions=parse_corruptions([corruption]))
        for name, (inputs, corruption, needs) in CONDITIONS.items()
        if set(needs) <= own
    }


def _items(sources: Sequence[Source]) -> Iterator[LabelledSample]:
    for source in sources:
        for read in source.readers:
            yield read()


def _compare(
    item: LabelledSample,
    runners: dict[str, Runner],
    settings: EvalSettings,
    tallies: dict[str, _Tally],
    first: dict[str, Feeds],
) -> None:
    """One sample in one condition through all candidates, the masks compared with the reference's."""
    reference: NDArray[np.bool_] | None = None
    made: dict[tuple[tuple[int, int] | None, int], tuple[Sample, Feeds]] = {}
    for label, runner in runners.items():
        size = (runner.spec.size, runner.spec.stride)
        if size not in made:
            made[size] = fed_as_asked(item, runner.spec, settings)
        sample, feeds = made[size]
        first.setdefault(label, {name: plane[:1] for name, plane in feeds.items()})
        mask, finite = _mask_of(runner, feeds, sample, settings)
        reference = mask if reference is None else reference
        tally = tallies[label]
        tally.counts.append(count_pixels(mask, item.mask))
        tally.equal_pixels += int(np.count_nonzero(mask == reference))
        tally.pixels += mask.size
        tally.not_finite += not finite


def _mask_of(runner: Runner, feeds: Feeds, sample: Sample, settings: EvalSettings) -> tuple[NDArray[np.bool_], bool]:
    """The mask, and whether the logits behind it are finite: in uint8 a NaN is a number like any other."""
    try:
        outputs = runner.infer(feeds, logits=True)
        finite = bool(np.isfinite(outputs["logits"]).all())
        return postprocess(outputs, runner.spec, sample, settings.threshold).mask, finite
    except NonFiniteError:  # of a foreign graph, whose probability is computed from what it returns
        return np.zeros(sample.size, np.bool_), False


def _call(runner: Runner, feeds: Feeds) -> Callable[[], Feeds]:
    return lambda: runner.infer(feeds)


def _judge(
    candidates: Sequence[Candidate],
    runners: dict[str, Runner],
    tallies: dict[tuple[str, str], _Tally],
    conditions: Sequence[str],
    sources: Sequence[Source],
    times: dict[str, list[float]],
    min_ratio: float,
    settings: EvalSettings,
) -> tuple[Verdict, ...]:
    places = [(source.name, place) for source in sources for place in source.places]
    reference = candidates[0].label
    verdicts: list[Verdict] = []
    for candidate in candidates:
        label, runner = candidate.label, runners[candidate.label]
        path = find_model(candidate.model)
        measured = {
            name: _measured(tallies[label, name], tallies[reference, name], places, settings) for name in conditions
        }
        why = reasons(measured, min_ratio)
        if verdicts and verdicts[0].reasons:
            why = (f"the reference {reference} cannot be compared with: {verdicts[0].reasons[0]}", *why)
        runs = runner.describe()
        verdicts.append(
            Verdict(label, path, sha256_of(path), path.stat().st_size, runs, measured, tuple(times.get(label, ())), why)
        )
    return tuple(verdicts)


def _measured(own: _Tally, reference: _Tally, places: Sequence[tuple[str, str]], settings: EvalSettings) -> Measured:
    ours, theirs = global_iou(own.counts), global_iou(reference.counts)
    draws = settings.bootstrap
    paired = paired_bootstrap(own.counts, reference.counts, places, draws, settings.seed) if draws else None
    return Measured(
        g_iou=ours,
        difference=ours - theirs,
        difference_interval=paired.difference if paired else None,
        ratio=iou_ratio(ours, theirs),
        ratio_interval=paired.ratio if paired else None,
        agreement=own.equal_pixels / own.pixels,
        not_finite=own.not_finite,
        worst=_worst(own.counts, reference.counts, places),
    )


def _worst(
    own: Sequence[PixelCounts], reference: Sequence[PixelCounts], places: Sequence[tuple[str, str]]
) -> tuple[PlaceLoss, ...]:
    """The places that lost the most IoU, weighed by their road, at most WORST and only those that lost any."""
    sums: dict[tuple[str, str], list[PixelCounts]] = {}
    for place, ours, theirs in zip(places, own, reference, strict=True):
        before = sums.get(place, [PixelCounts(), PixelCounts()])
        sums[place] = [before[0] + ours, before[1] + theirs]
    lost = {place: (theirs.iou - ours.iou) * theirs.union for place, (ours, theirs) in sums.items()}
    worst = sorted((place for place in lost if lost[place] > 0), key=lambda place: -lost[place])[:WORST]
    return tuple(PlaceLoss(f"{p[0]}: {p[1]}", sums[p][1].iou, sums[p][0].iou) for p in worst)


def reasons(measured: dict[str, Measured], min_ratio: float) -> tuple[str, ...]:
    """Why a candidate does not pass, a clause for each condition that it fails; none where it passes."""
    found = []
    for name, one in measured.items():
        if one.not_finite:
            found.append(f"{name}: NaN or infinite outputs on {one.not_finite} samples")
        elif not one.kept >= min_ratio:
            before = 100 * (one.g_iou - one.difference)
            found.append(
                f"{name}: G_IoU {100 * one.g_iou:.2f} against {before:.2f}, a share of {one.ratio:.4f}"
                + (f" (95 % from {one.kept:.4f})" if one.ratio_interval else "")
                + f" where {min_ratio:g} is asked for"
            )
    return tuple(found)


def _source_facts(source: Source) -> dict[str, Any]:
    return {
        "name": source.name, "samples": len(source.ids), "places": len(set(source.places)), "data": source.data,
        "why": source.why,
    }  # fmt: skip


def _notes(sources: Sequence[Source], without_second: int, runners: dict[str, Runner]) -> list[str]:
    notes = []
    samples, places = (sum(_source_facts(source)[name] for source in sources) for name in ("samples", "places"))
    if places < 2:
        notes.append("one place: no interval, the share itself decides; other places may lose more")
    elif samples < FEW_SAMPLES or places < FEW_PLACES:
        notes.append(
            f"{samples} samples of {places} places are few: this finds a broken file, it does not prove a good one"
        )
    second = next(iter(runners.values())).spec.second
    if second and without_second:
        notes.append(f"{without_second} of {samples} samples have no {second}; the network was fed its blank")
    for label, runner in runners.items():
        if runner.graph_precision not in ("unknown", runner.precision):
            notes.append(
                f"{label}: a file of {runner.graph_precision}, computed in {runner.precision} by {runner.name} here"
            )
    return notes
