"""Does each way to run a network say what FP32 on the CPU says?"""

from __future__ import annotations

import contextlib
from typing import Any, cast

from benchmarks.nvidia.child import sentence
from benchmarks.nvidia.onnx_files import Files
from benchmarks.nvidia.ways import Way
from roadedge.errors import EnvironmentFault, ExportError
from roadedge.export.parity import TOLERANCES, Parity, ParitySamples, Tolerance, compare
from roadedge.preprocess import Feeds
from roadedge.runners.base import Runner

TOLERANCE = {**TOLERANCES, "tf32": TOLERANCES["fp16"]}


class Judge:
    """Compares each way with FP32 on the CPU: ONNX Runtime, else torch.

    An INT8 graph of constant scales says nothing about FP32; it is compared with its own ONNX file. With fresh weights
    the logits are compared and the mask is not judged: it is noise around the threshold.
    """

    def __init__(self, files: Files, samples: ParitySamples | None, why_none: str, held: contextlib.ExitStack) -> None:
        self._files, self._samples, self._held = files, samples, held
        self._references: dict[str, Remembered] = {}
        self.title = ""
        self._why = why_none
        if samples is not None:
            try:
                reference = self._reference("fp32")
                self.title = f"{reference.name} {reference.version} fp32 on the CPU, {samples.origin}"
            except Exception as error:  # of whatever library is the reference
                self._why = f"there is no reference: {sentence(error)}"

    def of(self, way: Way, runner: Runner) -> dict[str, Any]:
        """The parity of one way as JSON values; `crashed` where it cannot be run at all."""
        own = way.precision == "int8" and not self._files.calibrated
        if self._why:
            return {"not_available": self._why}
        assert self._samples is not None
        try:
            reference = self._reference("int8-fp16" if own else "fp32")
        except Exception as error:  # of whatever library is the reference
            return {"not_available": f"there is no reference: {sentence(error)}"}
        try:
            table = compare(cast(Runner, reference), runner, runner.spec, self._samples)
        except ExportError as error:  # NaN or infinity: a finding, and it can be timed
            return {"agrees": False, "why": sentence(error)}
        except Exception as error:  # of whatever library runs it
            return {"crashed": sentence(error)}
        return _judged(table, TOLERANCE[way.precision], self._files.fresh) | {
            "with": "its own ONNX file" if own else "FP32"
        }

    def _reference(self, precision: str) -> Remembered:
        if precision not in self._references:
            self._references[precision] = self._held.enter_context(
                contextlib.closing(Remembered(_cpu_reference(self._files, precision)))
            )
        return self._references[precision]


class Remembered:
    """A runner that computes each input once; many ways are compared with it."""

    def __init__(self, runner: Runner) -> None:
        self._runner, self._known = runner, dict[bytes, Feeds]()
        self.name, self.version, self.precision = runner.name, runner.version, runner.precision
        self.graph_precision = runner.graph_precision

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        """What the runner returned for these feeds, the logits always with it."""
        key = b"".join(feeds[name].tobytes() for name in sorted(feeds))
        if key not in self._known:
            self._known[key] = self._runner.infer(feeds, logits=True)
        return self._known[key]

    def close(self) -> None:
        """Close the runner."""
        self._runner.close()


def _cpu_reference(files: Files, precision: str) -> Runner:
    from roadedge.runners import open_runner

    path = files.onnx.get(precision)
    try:
        if path is None:
            raise EnvironmentFault(files.missing.get(precision, f"no {precision} file"))
        return open_runner(path, "onnxruntime", accept_rejected=True)
    except (ImportError, EnvironmentFault):
        if files.checkpoint is None or precision != "fp32":
            raise
        return open_runner(files.checkpoint, "torch", accept_rejected=True)


def _judged(table: Parity, tolerance: Tolerance, fresh: bool) -> dict[str, Any]:
    relative = table.max_logit_difference / max(1.0, table.max_logit)
    agrees = relative <= tolerance.relative and (fresh or table.agreement >= tolerance.agreement)
    return {
        "agrees": bool(agrees),
        "relative_difference": relative,
        "max_logit_difference": table.max_logit_difference,
        "max_logit": table.max_logit,
        "mask_agreement": table.agreement,
        "mask_judged": not fresh,
        "g_iou_reference": table.g_iou_reference,
        "g_iou": table.g_iou_candidate,
        "samples": len(table.rows),
    }
