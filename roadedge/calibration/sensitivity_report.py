"""The sensitivity of the layers as lines, as a plot and as JSON."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from roadedge.atomic import replacing, write_json
from roadedge.calibration.sensitivity import LayerLoss, SensitivityResult, predicted_loss
from roadedge.errors import MissingExtraError

SHOWN = 12  # lines on a terminal; the plot and the JSON hold all
QUANTIZED_COLOUR, KEPT_COLOUR, ALL_COLOUR = "#4e79a7", "#e15759", "#888888"


def sensitivity_lines(result: SensitivityResult, kept: Collection[str] = (), shown: int = SHOWN) -> list[str]:
    """The worst layers, one line each, and what is expected of the network with `kept` in float."""
    how = "float while the rest is INT8" if result.spared else "in INT8 while the rest is float"
    lines = [
        f"each layer alone {how}: {result.samples} samples in turn {', '.join(result.conditions)}, {result.data}; "
        f"float G_IoU {100 * result.float_g_iou:.2f} %"
    ]
    lines.append(f"  {'layer':36s} {'G_IoU lost, points':>19s} {'SNR of logits, dB':>19s}")
    lines += [_line(one, one.layer in kept) for one in (result.everything, *result.layers[:shown])]
    if len(result.layers) > shown:
        lines.append(f"  … and {len(result.layers) - shown} more")
    if not result.spared:
        expected = predicted_loss(result, kept)
        count = f"{len(kept)} layers" if len(kept) != 1 else "1 layer"
        lines.append(
            f"  with {count} kept float {100 * expected:.2f} points are expected to be lost; the gate measures"
        )
    return lines


def write_sensitivity(result: SensitivityResult, folder: Path, kept: Collection[str] = ()) -> list[Path]:
    """Write `sensitivity.json` and `sensitivity.svg` into `folder`.

    Raises:
        MissingExtraError: matplotlib is absent; the JSON is there.
        OutputError: they cannot be written.
    """
    files = [folder / "sensitivity.json", folder / "sensitivity.svg"]
    write_json(files[0], {**result.to_dict(), "kept_float": list(kept)})
    draw_sensitivity(result, files[1], kept)
    return files


def draw_sensitivity(result: SensitivityResult, path: Path, kept: Collection[str] = ()) -> None:
    """Draw two rows of bars, worst layer on top: SNR of the logits and G_IoU lost; those of `kept` in red.

    Args:
        result: of `rank_layers`.
        path: ends in .svg, .png or .pdf.
        kept: layers that stay float.

    Raises:
        MissingExtraError: matplotlib is absent.
        OutputError: it cannot be written.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train", "drawing the sensitivity") from error
    rows = [*result.layers[::-1], result.everything]
    names = [one.layer for one in rows]
    colours = [KEPT_COLOUR if one.layer in kept else QUANTIZED_COLOUR for one in rows[:-1]] + [ALL_COLOUR]
    with matplotlib.rc_context({"svg.hashsalt": "roadedge", "svg.fonttype": "none"}):  # the same result, the same file
        figure = Figure(figsize=(10, 1.6 + 0.2 * len(rows)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        left.barh(names, [one.snr_db for one in rows], color=colours)
        left.set(xlabel="SNR of the logits, dB (less is worse)")
        right.barh(names, [100 * one.loss for one in rows], color=colours)
        right.axvline(0, color="black", lw=0.6)
        right.set(xlabel=f"G_IoU lost, points of {100 * result.float_g_iou:.1f}")
        for axes in (left, right):
            axes.grid(axis="x", alpha=0.3)
            axes.tick_params(axis="y", labelsize=7)
        how = "float, the rest INT8" if result.spared else "INT8, the rest float"
        red = "; red: kept float" if kept else ""
        figure.suptitle(f"each layer alone {how}: {result.samples} samples, {result.data}{red}", fontsize=9)
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)


def _line(one: LayerLoss, kept: bool) -> str:
    mark = "  kept float" if kept else ""
    return f"  {one.layer[-36:]:36s} {100 * one.loss:19.3f} {one.snr_db:19.1f}{mark}"
