"""Georeferencing error on a generated flight: a virtual camera pans over a real orthophoto, with DJI subtitles.

The camera follows a road of the scene in `$ROADEDGE_DATA/autzen/full` (EPSG:2992, 1 ft a pixel), first straight down,
then tilted. Each frame is drawn by a homography of this script's own (rotations one by one, points by pyproj), encoded
as H.264, and decoded again by the source that `roadedge infer` reads videos with; its place comes from the subtitles
beside it. Points on the road are then carried from pixels to the ground by that place and compared with where they are.

Subtitles are written several times: with all digits, and rounded as firmware does (longitude and latitude to six
digits, height and angles to a tenth), one by one and together, so that the share of each is seen. Not part of it: the
receiver's own error, the lens's, the ground's relief, a clock that differs between video and subtitles.

    ROADEDGE_DATA=... python benchmarks/flight.py [--seconds 40] [-o benchmarks/results]

writes flight-<date>.json and flight-<date>.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from roadedge.atomic import write_json, write_text  # noqa: E402
from roadedge.environment import environment  # noqa: E402
from roadedge.georeference.dji_srt import read_srt  # noqa: E402
from roadedge.imagery import read_image  # noqa: E402
from roadedge.place import Place  # noqa: E402
from roadedge.stream.locate_camera import CameraLocator, beside_video  # noqa: E402
from roadedge.stream.sources import Frame  # noqa: E402
from roadedge.stream.video import VideoFile  # noqa: E402
from roadedge.trajectory.plane import LocalPlane  # noqa: E402

CORNER_FT, CRS = (635_613.0, 853_365.0), "EPSG:2992"
SIZE = (360, 640)
EQUIVALENT_MM = 24.0
FOCAL_PX = EQUIVALENT_MM / 43.27 * 1.25 * SIZE[1]  # of a lens whose equivalent is by a 4:3 sensor's diagonal
RATE_HZ, SPEED_MPS, HEIGHT_M = 10, 15.0, 120.0
PITCHES_DEG = (-90.0, -60.0)
POINTS = 200  # on the road, a frame at most
# label: digits of longitude and latitude, of the height, of the angles, rows a second (None: one a frame)
ROUNDING: dict[str, tuple[int, int, int, float | None]] = {
    "all digits": (12, 9, 9, None),
    "longitude, latitude to 6 digits": (6, 9, 9, None),
    "height to 0.1 m": (12, 1, 9, None),
    "angles to 0.1°": (12, 9, 1, None),
    "as firmware writes": (6, 1, 1, None),
    "as firmware writes, one row a second": (6, 1, 1, 1.0),
    "longitude, latitude to 4 digits, one row a second": (4, 1, 1, 1.0),
}
AS_WRITTEN = "as firmware writes"


@dataclass(frozen=True)
class Scene:
    """The orthophoto, its road mask, its plane, and (3, 3) from its corner pixel coordinates to metres of the plane."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    plane: LocalPlane
    to_plane: NDArray[np.float64]

    @classmethod
    def read(cls, data: Path) -> Scene:
        """The scene of `data`/autzen/full."""
        import pyproj

        image = read_image(data / "autzen" / "full" / "ortho_1ft.jpg")
        mask = cv2.imread(str(data / "autzen" / "full" / "mask_1ft.png"), cv2.IMREAD_GRAYSCALE)
        height, width = image.shape[:2]
        to_lonlat = pyproj.Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
        lon, lat = to_lonlat.transform(CORNER_FT[0] + width / 2, CORNER_FT[1] - height / 2)
        plane = LocalPlane(round(lon, 6), round(lat, 6))
        grid = np.array([[x * width, y * height] for y in np.linspace(0, 1, 9) for x in np.linspace(0, 1, 9)])
        feet = grid * [1, -1] + CORNER_FT
        metres = np.stack(pyproj.Transformer.from_crs(CRS, plane.crs, always_xy=True).transform(*feet.T), axis=1)
        matrix = np.vstack(
            [np.linalg.lstsq(np.column_stack([grid, np.ones(len(grid))]), metres, rcond=None)[0].T, [0, 0, 1]]
        )
        return cls(image, np.asarray(mask, np.uint8), plane, matrix)

    def road(self) -> NDArray[np.float64]:
        """(N, 2) metres along the middle of the scene's curved road, from west to east."""
        _, labels, stats, _ = cv2.connectedComponentsWithStats((self.mask == 255).astype(np.uint8))
        curved = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_HEIGHT]))
        columns = np.arange(stats[curved, 0] + 150, stats[curved, 0] + stats[curved, 2] - 150)
        rows = np.array([np.flatnonzero(labels[:, column] == curved).mean() for column in columns])
        smooth = np.convolve(np.pad(rows, 150, mode="edge"), np.full(301, 1 / 301), "valid")
        return on(self.to_plane, np.column_stack([columns + 0.5, smooth + 0.5]))


@dataclass(frozen=True)
class Pose:
    """The truth: metres on the plane and above ground, degrees."""

    t_s: float
    east_m: float
    north_m: float
    height_m: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float

    def homography(self) -> NDArray[np.float64]:
        """(3, 3): corner pixel coordinates → metres: the inverse of the pinhole's projection of the plane z = 0."""
        (sy, sp, sr), (cy, cp, cr) = (
            f(np.radians([self.yaw_deg, self.pitch_deg, self.roll_deg])) for f in (np.sin, np.cos)
        )
        level = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # east, north, up → right, down, view, looking north
        yaw = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        roll = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        turn = roll @ pitch @ level @ yaw
        moved = -turn @ [self.east_m, self.north_m, self.height_m]
        lens = np.array([[FOCAL_PX, 0, SIZE[1] / 2], [0, FOCAL_PX, SIZE[0] / 2], [0, 0, 1]])
        matrix = np.linalg.inv(lens @ np.column_stack([turn[:, 0], turn[:, 1], moved]))
        return np.asarray(matrix / matrix[2, 2])


def on(matrix: NDArray[Any], xy: NDArray[Any]) -> NDArray[np.float64]:
    moved = np.column_stack([xy, np.ones(len(xy))]) @ matrix.T
    return np.asarray(moved[:, :2] / moved[:, 2:])


def flown(scene: Scene, pitch_deg: float, seconds: float) -> list[Pose]:
    """Poses a frame: along the road at constant speed, with a gimbal that wavers and a height that sinks."""
    road = scene.road()
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(road, axis=0), axis=1))])
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    times = times[times * SPEED_MPS < along[-1] - 20]
    poses = []
    for t_s in times.tolist():
        here, ahead = (
            np.array([np.interp(t_s * SPEED_MPS + by, along, axis) for axis in road.T]) for by in (0.0, 15.0)
        )
        yaw = float(np.degrees(np.arctan2(*(ahead - here))) + 2 * np.sin(t_s))
        pitch, roll = pitch_deg + 0.7 * float(np.sin(0.9 * t_s)), 0.5 * float(np.cos(1.3 * t_s))
        height = HEIGHT_M - 4 * float(np.sin(0.2 * t_s)) + 0.037
        poses.append(Pose(t_s, float(here[0]), float(here[1]), height, yaw, pitch, roll))
    return poses


def draw(scene: Scene, pose: Pose) -> NDArray[np.uint8]:
    """(H, W, 3): what the camera sees of the scene; drawn at twice the size, then averaged."""
    fine = 2
    matrix = np.linalg.inv(scene.to_plane) @ pose.homography() @ np.diag([1 / fine, 1 / fine, 1.0])
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    size = (SIZE[1] * fine, SIZE[0] * fine)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpPerspective(scene.image, np.linalg.inv(half) @ matrix @ half, size, flags=flags)
    return np.asarray(cv2.resize(drawn, (SIZE[1], SIZE[0]), interpolation=cv2.INTER_AREA), np.uint8)


def write_video(path: Path, scene: Scene, poses: Sequence[Pose]) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE_HZ, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        for index, pose in enumerate(poses):
            frame = av.VideoFrame.from_ndarray(draw(scene, pose), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_srt(path: Path, scene: Scene, poses: Sequence[Pose], rounding: tuple[int, int, int, float | None]) -> None:
    """In the form of newer firmware, rounded so."""
    lonlat_digits, height_digits, angle_digits, rows_hz = rounding
    rows = []
    every = 1 if rows_hz is None else round(RATE_HZ / rows_hz)
    for number, pose in enumerate(poses[::every], 1):
        lon, lat = scene.plane.to_lonlat([[pose.east_m, pose.north_m]])[0].tolist()
        rows.append(
            f"{number}\n{timecode(pose.t_s)} --> {timecode(pose.t_s + every / RATE_HZ)}\n"
            f'<font size="28">FrameCnt: {number}, DiffTime: {1000 * every // RATE_HZ}ms\n'
            f"2026-06-01 10:{int(pose.t_s) // 60:02d}:{pose.t_s % 60:06.3f}\n"
            f"[iso: 100] [shutter: 1/640.0] [fnum: 1.7] [ev: 0] [focal_len: {EQUIVALENT_MM:.2f}] [dzoom_ratio: 1.00], "
            f"[latitude: {lat:.{lonlat_digits}f}] [longitude: {lon:.{lonlat_digits}f}] "
            f"[rel_alt: {pose.height_m:.{height_digits}f} abs_alt: {pose.height_m + 130:.3f}] "
            f"[gb_yaw: {pose.yaw_deg:.{angle_digits}f} gb_pitch: {pose.pitch_deg:.{angle_digits}f} "
            f"gb_roll: {pose.roll_deg:.{angle_digits}f}] </font>\n"
        )
    path.write_text("\n".join(rows))


def timecode(t_s: float) -> str:
    milliseconds = round(t_s * 1000)
    return f"00:{milliseconds // 60000:02d}:{milliseconds // 1000 % 60:02d},{milliseconds % 1000:03d}"


@dataclass(frozen=True)
class Errors:
    """Of points on the road, all frames together: (N,) metres and image pixels, and whether each stayed on its road."""

    metres: NDArray[np.float64]
    pixels: NDArray[np.float64]
    stayed: NDArray[np.bool_]
    stated_m: float  # the places' own uncertainty_m, median

    def summary(self) -> dict[str, float]:
        """Median, p99 and maximum."""
        return {
            "points": len(self.metres),
            "median_m": float(np.median(self.metres)),
            "p99_m": float(np.percentile(self.metres, 99)),
            "max_m": float(self.metres.max()),
            "median_px": float(np.median(self.pixels)),
            "p99_px": float(np.percentile(self.pixels, 99)),
            "max_px": float(self.pixels.max()),
            "on_their_road": float(self.stayed.mean()),
            "stated_uncertainty_m": self.stated_m,
        }


def measure(scene: Scene, poses: Sequence[Pose], frames: Sequence[Frame], locate: CameraLocator) -> Errors:
    """Carry road points from pixels to the ground by the frames' places, and compare."""
    road = on(scene.to_plane, np.argwhere(scene.mask == 255)[::7, ::-1] + 0.5)
    random = np.random.default_rng(0)
    metres, pixels, stayed, stated = [], [], [], []
    for pose, frame in zip(poses, frames, strict=True):
        place = locate(frame).sample.place
        if place is None:
            raise SystemExit(f"frame {frame.name} got no place: {dict(locate.misses)}")
        truth = Place(pose.homography(), scene.plane.crs)
        seen = truth.to_image(road)
        inside = np.flatnonzero((seen > 0).all(axis=1) & (seen < [SIZE[1], SIZE[0]]).all(axis=1))
        inside = random.permutation(inside)[:POINTS]
        if not len(inside):
            continue
        found = place.to_ground(seen[inside])
        metres.append(np.linalg.norm(found - road[inside], axis=1))
        pixels.append(np.linalg.norm(place.to_image(road[inside]) - seen[inside], axis=1))
        at = np.floor(on(np.linalg.inv(scene.to_plane), found)).astype(int)
        at = np.clip(at, 0, [scene.mask.shape[1] - 1, scene.mask.shape[0] - 1])
        stayed.append(scene.mask[at[:, 1], at[:, 0]] == 255)
        stated.append(place.uncertainty_m)
    return Errors(np.concatenate(metres), np.concatenate(pixels), np.concatenate(stayed), float(np.median(stated)))


def picture_shift_m(scene: Scene, frame: Frame, place: Place) -> float:
    """How far the decoded picture, laid on the ground by `place`, lies from the scene's own, by phase correlation."""
    side, gsd_m = 128, 0.3
    centre = place.to_ground([[SIZE[1] / 2, SIZE[0] / 2]])[0].tolist()
    window = Place.nadir((centre[0], centre[1]), gsd_m, (side, side), crs=place.crs)
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    cut = []
    for image, to_ground in ((frame.sample.image, place.homography), (scene.image, scene.to_plane)):
        matrix = np.linalg.inv(half) @ np.linalg.inv(to_ground) @ window.homography @ half
        drawn = cv2.warpPerspective(
            np.asarray(image), matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        cut.append(cv2.cvtColor(drawn, cv2.COLOR_RGB2GRAY).astype(np.float64))
    shift, _ = cv2.phaseCorrelate(cut[0], cut[1], cv2.createHanningWindow((side, side), cv2.CV_64F))
    return float(np.hypot(shift[0], shift[1])) * gsd_m


def run(data: Path, folder: Path, seconds: float, pitches: Sequence[float] = PITCHES_DEG) -> dict[str, Any]:
    """All flights with all roundings; `folder` takes the videos."""
    scene = Scene.read(data)
    flights: dict[str, Any] = {}
    for pitch_deg in pitches:
        poses = flown(scene, pitch_deg, seconds)
        video = folder / f"flight{-pitch_deg:.0f}.mp4"
        write_video(video, scene, poses)
        with VideoFile(video) as source:
            frames = [frame for frame in iter(source.read, None)]
        if len(frames) != len(poses):
            raise SystemExit(f"{len(poses)} frames were written and {len(frames)} read")
        rows: dict[str, dict[str, float]] = {}
        for label, rounding in ROUNDING.items():
            write_srt(video.with_suffix(".SRT"), scene, poses, rounding)
            locate = beside_video(video, plane=scene.plane)
            assert locate is not None
            rows[label] = measure(scene, poses, frames, locate).summary()
        write_srt(video.with_suffix(".SRT"), scene, poses, ROUNDING[AS_WRITTEN])
        shown = beside_video(video, plane=scene.plane)
        assert shown is not None
        some = [shown(frame) for frame in frames[:: max(1, len(frames) // 40)]]
        shifts = [picture_shift_m(scene, frame, frame.sample.place) for frame in some if frame.sample.place is not None]
        flights[f"{pitch_deg:g}"] = {
            "frames": len(frames),
            "gsd_m": float(np.median([frame.sample.gsd_m for frame in some if frame.sample.gsd_m])),
            "dialect": read_srt(video.with_suffix(".SRT")).dialect,
            "rows": rows,
            "picture_shift_median_m": float(np.median(shifts)),
            "picture_shift_max_m": float(np.max(shifts)),
        }
    return flights


def report(flights: dict[str, Any]) -> str:
    said = ["# Georeferencing error on a generated flight", ""]
    for pitch, flight in flights.items():
        said += [
            f"## Pitch {pitch}°: {flight['frames']} frames, {flight['gsd_m']:.2f} m a pixel at the middle",
            "",
            "| subtitles | median m | p99 m | max m | median px | max px | points that stay on their road |",
            "|---|---|---|---|---|---|---|",
        ]
        for label, row in flight["rows"].items():
            said.append(
                f"| {label} | {row['median_m']:.3f} | {row['p99_m']:.3f} | {row['max_m']:.3f} | "
                f"{row['median_px']:.2f} | {row['max_px']:.2f} | {row['on_their_road']:.2%} |"
            )
        said += [
            "",
            "The decoded pictures, laid on the ground as firmware writes, lie "
            f"{flight['picture_shift_median_m']:.2f} m (median; at most {flight['picture_shift_max_m']:.2f} m) "
            "from the orthophoto by phase correlation.",
            "",
        ]
    said += [
        "Place.uncertainty_m states more, since it holds what this flight does not: a receiver's error and a lens's.",
        "",
    ]
    return "\n".join(said)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0, help="of each flight")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder")
    options = parser.parse_args()
    data = os.environ.get("ROADEDGE_DATA")
    if not data:
        print("ROADEDGE_DATA is not set: the orthophoto is not here", file=sys.stderr)
        return 2
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        flights = run(Path(data), Path(folder), options.seconds)
    text = report(flights)
    print(text)
    stem = f"flight-{time.strftime('%Y-%m-%d')}"
    options.output.mkdir(parents=True, exist_ok=True)
    command = f"python benchmarks/flight.py --seconds {options.seconds:g}"
    content = {"command": command, "environment": environment(), "flights": flights}
    write_json(options.output / f"{stem}.json", content)
    write_text(options.output / f"{stem}.md", f"{text}\n`{command}`\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
