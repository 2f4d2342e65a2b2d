"""Inverse perspective, end to end, on a generated drive: a forward-looking camera over a real orthophoto, with a GPX.

A vehicle follows a road of the scene in `$ROADEDGE_DATA/autzen/full`; its camera is 2.5 m above the road and 12 degrees
below the horizon. Each frame is drawn by the homography of `benchmarks/flight.py` (its own rotations), encoded as
H.264, and read, placed and made to an image from above by what `roadedge infer --camera --telemetry` runs. Measured:

- points of the ground, carried from the camera's pixels by the place, against where they are, in metres and in pixels
  of 0.35 m, by their distance ahead: with all digits, as a receiver writes, and with a body that nods and rolls;
- the same live, where a frame knows only the fixes that have come: fixes arrive 0.1 s late;
- the picture from above against the orthophoto cut at the same place, by phase correlation;
- with --infer, G_IoU of `roadedge-s` on those pictures and on the orthophoto cut at the same places, which is what the
  perspective costs, and with points about the road's middle that stand for a fleet: that score is semi-synthetic. The
  network was trained on tiles of this scene: the scores compare with one another and with nothing else.

    ROADEDGE_DATA=... python benchmarks/forward.py [--seconds 30] [--infer] [-o benchmarks/results]
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from benchmarks.flight import FOCAL_PX, RATE_HZ, SIZE, Pose, Scene, on, write_video  # noqa: E402
from roadedge.atomic import write_json, write_text  # noqa: E402
from roadedge.environment import environment  # noqa: E402
from roadedge.georeference.live_track import LiveRow, LiveTrack  # noqa: E402
from roadedge.imagery import read_image  # noqa: E402
from roadedge.metrics.pixel import count_pixels, global_iou  # noqa: E402
from roadedge.place import Place  # noqa: E402
from roadedge.stream.inputs import SourceOptions  # noqa: E402
from roadedge.stream.joining import open_pairing  # noqa: E402
from roadedge.stream.opening import open_source  # noqa: E402
from roadedge.stream.sources import Frame  # noqa: E402

SPEED_MPS, HEIGHT_M, PITCH_DEG = 12.0, 2.5, -12.0
NEAR_M, FAR_M, WIDTH_M, GSD_M = 5.0, 45.0, 30.0, 0.35
BANDS_M = ((5.0, 15.0), (15.0, 30.0), (30.0, 45.0))
START_S = 1.78e9
AHEAD_M = 22.5
LATE_S, TAKEN_S = 0.1, 0.03  # live: how late a fix arrives, and how old a frame is when its place is asked for
NOD_DEG, ROLL_DEG = 0.3, 0.3  # of a car on a paved road, amplitude
# label: digits of longitude and latitude, fixes a second, whether the body moves
DRIVES: dict[str, tuple[int, float, bool]] = {
    "all digits, ten fixes a second": (12, 10.0, False),
    "as a receiver writes: 7 digits, one fix a second": (7, 1.0, False),
    "the same, and a body that nods and rolls by 0.3°": (7, 1.0, True),
}
CAMERA = f"""[image]
width = {SIZE[1]}
height = {SIZE[0]}
[lens]
fx = {FOCAL_PX}
[mount]
height_m = {HEIGHT_M}
pitch_deg = {PITCH_DEG}
"""
RECTIFY = f"[rectify]\ngsd_m = {GSD_M}\nnear_m = {NEAR_M}\nfar_m = {FAR_M}\nwidth_m = {WIDTH_M}\n"


def driven(scene: Scene, seconds: float, moves: bool) -> list[Pose]:
    """Poses a frame: along the road, looking where it goes."""
    road = scene.road()
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(road, axis=0), axis=1))])
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    poses = []
    for t_s in times[times * SPEED_MPS < along[-1] - FAR_M - 10].tolist():
        behind, here, ahead = (
            np.array([np.interp(t_s * SPEED_MPS + 30 + by, along, axis) for axis in road.T]) for by in (-0.6, 0.0, 0.6)
        )
        yaw = float(np.degrees(np.arctan2(*(ahead - behind))))
        nod = NOD_DEG * float(np.sin(2 * np.pi * 1.3 * t_s)) * moves
        roll = ROLL_DEG * float(np.sin(2 * np.pi * 0.9 * t_s)) * moves
        poses.append(Pose(t_s, float(here[0]), float(here[1]), HEIGHT_M, yaw, PITCH_DEG + nod, roll))
    return poses


def write_gpx(path: Path, scene: Scene, poses: Sequence[Pose], digits: int, fixes_hz: float) -> None:
    """The way, rounded so; the last pose too."""
    rows = []
    for pose in [*poses[:: round(RATE_HZ / fixes_hz)], poses[-1]]:
        lon, lat = scene.plane.to_lonlat([[pose.east_m, pose.north_m]])[0].tolist()
        clock = datetime.fromtimestamp(START_S + pose.t_s, timezone.utc).isoformat(timespec="milliseconds")
        rows.append(f'<trkpt lat="{lat:.{digits}f}" lon="{lon:.{digits}f}"><time>{clock}</time></trkpt>')
    head = '<gpx version="1.1" creator="a" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>'
    path.write_text(f"{head}{''.join(rows)}</trkseg></trk></gpx>")


def placed(video: Path, gpx: Path, camera: str) -> list[Frame]:
    """The video's frames as `infer --camera --telemetry` has them."""
    path = video.with_suffix(".toml")
    path.write_text(camera)
    options = SourceOptions(camera=path, telemetry=gpx)
    with open_source(str(video), options) as source:
        pairing = open_pairing(str(video), source, options, lambda text: None)
        assert pairing is not None
        frames = [pairing.place(frame) for frame in iter(source.read, None)]
        pairing.close()
    lost = [frame.name for frame in frames if frame.sample.place is None]
    if lost:
        raise SystemExit(f"{len(lost)} frames got no place, the first is {lost[0]}: {frames[int(lost[0])].notice}")
    return frames


def errors(poses: Sequence[Pose], frames: Sequence[Frame], crs: str) -> dict[str, Any]:
    """Of ground points in the rectangle, by their distance ahead; `frames` with the place of the camera's own image."""
    ahead, aside = (a.ravel() for a in np.meshgrid(np.arange(NEAR_M, FAR_M, 2.0), np.arange(-14.0, 15.0, 2.0)))
    found: dict[tuple[float, float], list[NDArray[np.float64]]] = {band: [] for band in BANDS_M}
    for pose, frame in zip(poses, frames, strict=True):
        sine, cosine = np.sin(np.radians(pose.yaw_deg)), np.cos(np.radians(pose.yaw_deg))
        ground = np.stack([ahead * sine + aside * cosine, ahead * cosine - aside * sine], 1)
        ground += [pose.east_m, pose.north_m]
        seen = Place(pose.homography(), crs).to_image(ground)
        inside = ((seen >= 0) & (seen < [SIZE[1], SIZE[0]])).all(axis=1)
        place = frame.sample.place
        assert place is not None
        moved = np.linalg.norm(place.to_ground(seen[inside]) - on_plane(ground[inside], crs, place.crs), axis=1)
        for band in BANDS_M:
            found[band].append(moved[(ahead[inside] >= band[0]) & (ahead[inside] < band[1])])
    rows: dict[str, Any] = {}
    for (near, far), parts in found.items():
        metres = np.concatenate(parts)
        rows[f"{near:g} to {far:g} m"] = {
            "points": len(metres),
            "median_m": float(np.median(metres)),
            "p99_m": float(np.percentile(metres, 99)),
            "max_m": float(metres.max()),
            "median_px": float(np.median(metres)) / GSD_M,
        }
    return rows


def on_plane(xy: NDArray[np.float64], crs: str, target: str) -> NDArray[np.float64]:
    from roadedge.stream.feeds_crs import onto

    return onto(xy, crs, target)


def cut_of(scene: Scene, image: NDArray[Any], place: Place, size: tuple[int, int], nearest: bool) -> NDArray[Any]:
    """What the scene's raster shows at a place, (H, W) or (H, W, 3)."""
    corners = np.array([[0, 0], [size[1], 0], [size[1], size[0]], [0, size[0]]], np.float64)
    ground = on_plane(place.to_ground(corners), place.crs, scene.plane.crs)
    pixels = on(np.linalg.inv(scene.to_plane), ground)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), pixels.astype(np.float32))
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    flags = (cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(image, np.linalg.inv(half) @ matrix @ half, size[::-1], flags=flags))


def shifts_m(scene: Scene, frames: Sequence[Frame]) -> NDArray[np.float64]:
    """How far each picture from above lies from the orthophoto at its place, by phase correlation of its middle."""
    side = 72
    window = cv2.createHanningWindow((side, side), cv2.CV_64F)
    found = []
    for frame in frames:
        assert frame.sample.place is not None
        image, size = np.asarray(frame.sample.image), frame.sample.size
        left = (size[1] - side) // 2
        grey = [
            cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY).astype(np.float64)[-side - 6 : -6, left : left + side]
            for shown in (image, cut_of(scene, scene.image, frame.sample.place, size, False))
        ]
        shift, _ = cv2.phaseCorrelate(grey[0], grey[1], window)
        found.append(float(np.hypot(shift[0], shift[1])) * GSD_M)
    return np.array(found)


def run(data: Path, folder: Path, seconds: float) -> dict[str, Any]:
    """All drives; `folder` takes the videos."""
    scene = Scene.read(data)
    drives: dict[str, Any] = {}
    videos: dict[bool, Path] = {}
    for label, (digits, fixes_hz, moves) in DRIVES.items():
        poses = driven(scene, seconds, moves)
        if moves not in videos:
            videos[moves] = folder / f"drive{moves:d}.mp4"
            write_video(videos[moves], scene, poses)
        gpx = folder / f"drive{digits}-{fixes_hz:g}-{moves:d}.gpx"
        write_gpx(gpx, scene, poses, digits, fixes_hz)
        rows = errors(poses, placed(videos[moves], gpx, CAMERA), scene.plane.crs)
        above = placed(videos[moves], gpx, CAMERA + RECTIFY)
        shifts = shifts_m(scene, above[:: max(1, len(above) // 60)])
        stated = float(np.median([frame.sample.place.uncertainty_m for frame in above if frame.sample.place]))
        drives[label] = {
            "frames": len(above), "rows": rows, "picture_shift_median_m": float(np.median(shifts)),
            "picture_shift_p90_m": float(np.percentile(shifts, 90)), "stated_uncertainty_m": stated,
        }  # fmt: skip
    return drives


def carried_on(scene: Scene, seconds: float) -> dict[str, dict[str, float]]:
    """The same drive live: errors of the ground 22.5 m ahead where each frame knows only the fixes that have come."""
    poses = driven(scene, seconds, False)
    found = {}
    for fixes_hz, says_course in itertools.product((1, 5, 10), (False, True)):
        track, waiting, apart = LiveTrack(), collections.deque(poses[:: RATE_HZ // fixes_hz]), []
        for pose in poses:
            while waiting and waiting[0].t_s + LATE_S <= pose.t_s + TAKEN_S:
                track.add(row_of(scene, waiting.popleft(), says_course), START_S + pose.t_s)
            known = track.at(START_S + pose.t_s, 2.0)
            if known is None or known.yaw_deg is None:
                continue
            here = scene.plane.from_lonlat([[known.lon_deg, known.lat_deg]])[0]
            apart.append(np.linalg.norm(ahead_of(here, known.yaw_deg) - ahead_of(position(pose), pose.yaw_deg)))
        said = "course of its own" if says_course else "course by its steps"
        found[f"{fixes_hz} a second, {said}"] = {
            "frames": len(apart), "median_m": float(np.median(apart)), "p99_m": float(np.percentile(apart, 99)),
        }  # fmt: skip
    return found


def position(pose: Pose) -> NDArray[np.float64]:
    return np.array([pose.east_m, pose.north_m])


def ahead_of(here: NDArray[np.float64], yaw_deg: float) -> NDArray[np.float64]:
    yaw = np.radians(yaw_deg)
    return here + AHEAD_M * np.array([np.sin(yaw), np.cos(yaw)])


def row_of(scene: Scene, pose: Pose, says_course: bool) -> LiveRow:
    lon, lat = np.round(scene.plane.to_lonlat([position(pose)])[0], 7).tolist()
    course, speed = (round(pose.yaw_deg, 1), SPEED_MPS) if says_course else (np.nan, np.nan)
    return LiveRow(START_S + pose.t_s, lon, lat, course_deg=course, speed_mps=speed)


def scores(data: Path, folder: Path) -> dict[str, float]:
    """G_IoU of the carried network on the last drive's pictures from above, and on the orthophoto at their places."""
    from roadedge.imagery import write_png
    from roadedge.stream.outcome import InferOptions
    from roadedge.stream.plan import Plan
    from roadedge.stream.session import infer

    scene = Scene.read(data)
    video, gpx, camera = folder / "drive0.mp4", folder / "drive7-1-0.gpx", folder / "above.toml"
    camera.write_text(CAMERA + RECTIFY)
    random = np.random.default_rng(0)
    middle = scene.road()
    fleet = middle[random.integers(0, len(middle), 6000)] + random.normal(0, 3.0, (6000, 2))
    rows = "".join(f"{lon:.7f},{lat:.7f}\n" for lon, lat in scene.plane.to_lonlat(fleet))
    (folder / "fleet.csv").write_text("lon,lat\n" + rows)
    plan, saved = Plan("all"), ("mask", "csv")
    seen = SourceOptions(camera=camera, telemetry=gpx)
    for name, points in (("both", (f"prior:{folder / 'fleet.csv'}",)), ("camera", ())):
        inputs = dataclasses.replace(seen, trajectories=points)
        infer(InferOptions(str(video), inputs=inputs, plan=plan, output=folder / name, save=saved, profile=False))
    frames = placed(video, gpx, CAMERA + RECTIFY)
    (folder / "cuts").mkdir()
    truths = []
    for frame in frames:
        place, size = frame.sample.place, frame.sample.size
        assert place is not None
        cut = cut_of(scene, scene.image, place, size, False).astype(np.uint8)
        write_png(folder / "cuts" / f"{frame.name}.png", cut)
        truths.append(cut_of(scene, scene.mask, place, size, True).astype(np.uint8))
    plain, cuts = SourceOptions(gsd_m=GSD_M), str(folder / "cuts")
    infer(InferOptions(cuts, inputs=plain, plan=plan, output=folder / "nadir", save=saved, profile=False))
    found: dict[str, float] = {"road_share": float(np.mean([(t == 255).mean() for t in truths]))}
    runs = {"camera and points": "both", "camera alone": "camera", "orthophoto alone": "nadir"}
    for label, run_folder in runs.items():
        masks = [read_image(folder / run_folder / "masks" / f"{frame.name}.png")[..., 0] > 127 for frame in frames]
        counts = [count_pixels(mask, truth) for mask, truth in zip(masks, truths, strict=True)]
        found[label] = 100 * global_iou(counts)
    return found


def report(drives: dict[str, Any]) -> str:
    said = [
        "# Inverse perspective on a generated drive", "",
        f"A camera {HEIGHT_M:g} m above the road, {-PITCH_DEG:g}° below the horizon, {SIZE[1]} x {SIZE[0]} pixels of "
        f"{FOCAL_PX:.0f} pixels' focal length, {SPEED_MPS:g} m/s; errors of ground points by their distance ahead:", "",
        "| telemetry | ahead | median m | p99 m | max m | median in pixels of 0.35 m |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for label, drive in drives.items():
        said += [
            f"| {label} | {ahead} | {row['median_m']:.2f} | {row['p99_m']:.2f} | {row['max_m']:.2f} | "
            f"{row['median_px']:.1f} |"
            for ahead, row in drive["rows"].items()
        ]
    said.append("")
    said += [
        f"- {label}: {drive['frames']} frames; the pictures from above lie {drive['picture_shift_median_m']:.2f} m "
        f"(median; p90 {drive['picture_shift_p90_m']:.2f}) from the orthophoto; stated uncertainty "
        f"{drive['stated_uncertainty_m']:.1f} m"
        for label, drive in drives.items()
    ]
    return "\n".join([*said, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each drive")
    parser.add_argument("--infer", action="store_true", help="G_IoU of roadedge-s as well")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder")
    options = parser.parse_args()
    data = os.environ.get("ROADEDGE_DATA")
    if not data:
        print("ROADEDGE_DATA is not set: the orthophoto is not here", file=sys.stderr)
        return 2
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        drives = run(Path(data), Path(folder), options.seconds)
        live = carried_on(Scene.read(Path(data)), options.seconds)
        g_iou = scores(Path(data), Path(folder)) if options.infer else {}
    text = report(drives)
    text += "\n| live: fixes | frames | median m, 22.5 m ahead | p99 m |\n|---|---|---|---|\n"
    text += "".join(
        f"| {label} | {row['frames']} | {row['median_m']:.2f} | {row['p99_m']:.2f} |\n" for label, row in live.items()
    )
    if g_iou:
        text += "\nG_IoU of roadedge-s, which was trained on tiles of this scene (%; with points semi-synthetic): "
        text += "; ".join(f"{label} {value:.1f}" for label, value in g_iou.items() if label != "road_share") + "\n"
    print(text)
    stem = f"forward-{time.strftime('%Y-%m-%d')}"
    options.output.mkdir(parents=True, exist_ok=True)
    command = f"python benchmarks/forward.py --seconds {options.seconds:g}{' --infer' if options.infer else ''}"
    content = {"command": command, "environment": environment(), "drives": drives, "live": live, "g_iou": g_iou}
    write_json(options.output / f"{stem}.json", content)
    write_text(options.output / f"{stem}.md", f"{text}\n`{command}`\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
