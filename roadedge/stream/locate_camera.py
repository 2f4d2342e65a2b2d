"""The place of frames by a camera that moves with a track, or stands where its file says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from roadedge.errors import DataError, UsageError
from roadedge.georeference.birdseye import from_above, grid_in_image, rectangle, seen_share
from roadedge.georeference.camera import Camera, Rectify, Undistort
from roadedge.georeference.dji_srt import beside, read_srt
from roadedge.georeference.footprint import YAW_ERROR_DEG, PoseErrors, View, place_of, uncertainty_m, view_of
from roadedge.georeference.lens import Lens
from roadedge.georeference.pose import Pose, PoseTrack
from roadedge.stream.locate import Locator, UnknownPlace, placed
from roadedge.stream.sources import Frame
from roadedge.stream.telemetry import LiveTelemetry
from roadedge.trajectory.plane import LocalPlane

STANDING_POSITION_M = 1.0  # of a camera whose position somebody wrote down
MOSTLY_SEEN = 0.7  # of the rectangle; less of it is said once
MEASURED = PoseErrors(height_m=0.02, height_share=0.01, tilt_deg=0.5)  # of a height and a pitch from a camera file


class CameraLocator(Locator):
    """A camera that moves with a track, or stands where its file says.

    Of telemetry (yaw by the gimbal or the aircraft) what it says comes first, and the camera file's mount fills in what
    it lacks. On a track without yaw the mount is that of a vehicle which looks where it goes.
    """

    def __init__(
        self,
        track: PoseTrack | LiveTelemetry | None,
        lens: Lens | None = None,
        camera: Camera | None = None,
        plane: LocalPlane | None = None,
        offset_s: float = 0.0,
        tolerance_s: float = 1.0,
    ) -> None:
        """Check that the parts together tell a place.

        Args:
            track: where the camera or its vehicle is, or what says it while frames come, which becomes the locator's;
                None for a camera that stands.
            lens: of telemetry; a camera file's counts before it.
            camera: a camera file's content.
            plane: of the run; None takes the one about the track or the camera, of live telemetry the one about where
                the first frame was.
            offset_s: added to the frame's time before it is looked up in the track; live telemetry has its own.
            tolerance_s: how far in time the nearest row of the track may lie.

        Raises:
            UsageError: neither track nor a position in the camera file.
            DataError: focal length, height or yaw is said by none of them.
        """
        super().__init__()
        if track is None and (camera is None or camera.lonlat is None):
            raise UsageError("a camera without a track needs lon and lat in [place] of its camera file")
        self._camera, self._offset_s, self._tolerance_s = camera, offset_s, tolerance_s
        self._lens = lens or Lens()
        self._undistort = None if camera is None else Undistort(camera)
        self._said_share = False
        self.live = track if isinstance(track, LiveTelemetry) else None
        self._track = track if isinstance(track, PoseTrack) else None
        if self._track is not None and not np.isfinite(self._track.yaw_deg).any():
            self._track = self._track.with_course()
            self.notices = ("the telemetry holds no yaw; the direction of travel stands for it",)
        self._refuse_unknown()
        if plane is not None or self.live is not None:
            self.plane = plane
        elif self._track is not None:
            self.plane = self._track.plane()
        else:
            self.plane = LocalPlane(*_known(None if camera is None else camera.lonlat))

    def _refuse_unknown(self) -> None:
        """What no frame could do without."""
        mount = None if self._camera is None else self._camera.mount
        _focal(self._camera, self._lens, (3000, 4000) if self._camera is None else self._camera.size or (3000, 4000))
        track = self._track
        if self.live is not None:
            if mount is None or mount.height_m is None:
                self.notices = ("[mount] has no height_m: frames have a place where the telemetry says height_m",)
            return
        if (mount is None or mount.height_m is None) and (track is None or not np.isfinite(track.height_m).any()):
            raise DataError("the height above ground is not known; give height_m in [mount] of a camera file")
        yaw = track is not None and np.isfinite(track.yaw_deg).any()
        if not yaw and (mount is None or mount.yaw_deg is None):
            raise DataError(
                "no heading is known: the track has no yaw and never moves; give yaw_deg in [mount] of a camera file"
            )

    def _locate(self, frame: Frame) -> Frame:
        pose = self._pose(frame)
        sample, size = frame.sample, frame.sample.size
        focal, principal, focal_error = _focal(self._camera, self._lens, size)
        plane = self.plane = self._plane_of(pose)
        try:
            view = self._with_lever(view_of(pose, focal, principal, plane))
        except DataError as error:
            raise UnknownPlace("height or heading unknown", str(error)) from error
        errors = PoseErrors() if self._camera is None or self._camera.mount.height_m is None else MEASURED
        yaw_error = YAW_ERROR_DEG.get(pose.yaw_from, 2.0)
        image = sample.image if self._undistort is None or sample.image is None else self._undistort(sample.image)
        cut = None if self._camera is None else self._camera.rectify
        if cut is None:
            try:
                place = place_of(view, size, plane.crs, pose.position_m, focal_error, yaw_error, errors)
            except DataError as error:
                raise UnknownPlace("view above the horizon", str(error)) from error
            return placed(frame, place, image)
        self._check_seen(view, cut, size)
        unsure = uncertainty_m(view, grid_in_image(view, cut), pose.position_m, focal_error, yaw_error, errors)
        place = rectangle(view, cut, plane.crs, unsure)
        if image is None:
            return placed(frame, place, None, cut.size)
        return placed(frame, place, from_above(image, view, cut))

    def _check_seen(self, view: View, cut: Rectify, size: tuple[int, int]) -> None:
        """A rectangle out of view is a slip in the file, but of this frame alone where a gimbal moves the camera."""
        try:
            share = seen_share(view, cut, size)
        except DataError as error:
            if self._tilts():
                raise UnknownPlace("rectangle out of view", str(error)) from error
            raise
        if share < MOSTLY_SEEN and not self._said_share:
            self._said_share = True
            said = f"the camera sees {share:.0%} of the rectangle of [rectify]; the rest is blank"
            self.notices = (*self.notices, said)

    def _plane_of(self, pose: Pose) -> LocalPlane:
        """The run's; live telemetry gives it with its first place, and a new one where it has gone too far from it."""
        if self.plane is not None and (self.live is None or self.live.reaches(self.plane, pose)):
            return self.plane
        return LocalPlane(pose.lon_deg, pose.lat_deg)

    def _tilts(self) -> bool:
        """Whether what the camera sees changes, by a gimbal or a drone that leans."""
        if self.live is not None:
            return self.live.track.tilts
        return self._track is not None and bool(np.isfinite(self._track.pitch_deg).any())

    def _pose(self, frame: Frame) -> Pose:
        camera = self._camera
        if self.live is not None:
            pose = self.live.pose(frame)
        elif self._track is None:
            assert camera is not None
            lon, lat = _known(camera.lonlat)
            pose = Pose(lon, lat, position_m=STANDING_POSITION_M)
        else:
            if frame.capture_s is None:
                raise UnknownPlace("no time", "the frame has no capture time to look up in the telemetry")
            found = self._track.at(frame.capture_s + self._offset_s, self._tolerance_s)
            if found is None:
                raise UnknownPlace(
                    "no telemetry",
                    f"no telemetry within {self._tolerance_s:g} s of {frame.capture_s + self._offset_s:.2f} s",
                )
            pose = found
        return pose if camera is None else _mounted(pose, camera)

    def _with_lever(self, view: View) -> View:
        """The camera beside its antenna."""
        if self._camera is None or (self._track is None and self.live is None):
            return view
        mount = self._camera.mount
        heading = np.radians(view.yaw_deg - (mount.yaw_deg or 0.0))
        ahead, aside = np.array([np.sin(heading), np.cos(heading)]), np.array([np.cos(heading), -np.sin(heading)])
        east, north = ahead * mount.forward_m + aside * mount.right_m
        return dataclasses.replace(view, east_m=view.east_m + east, north_m=view.north_m + north)

    def position(self, frame: Frame) -> tuple[float, float] | None:
        """Metres east and north of the antenna when the frame was taken; None where the track does not say."""
        if self._track is None or self.plane is None or frame.capture_s is None:
            return None
        pose = self._track.at(frame.capture_s + self._offset_s, self._tolerance_s)
        if pose is None:
            return None
        east, north = self.plane.from_lonlat([[pose.lon_deg, pose.lat_deg]])[0].tolist()
        return east, north

    def describe(self) -> dict[str, Any]:
        """As of any locator, with what the track lost."""
        track = self._track
        about: dict[str, Any] = {"camera": None if self._camera is None else self._camera.path}
        if track is not None:
            about |= {"rows": len(track), "dropped": dict(track.dropped), "yaw_from": track.yaw_from}
        found = super().describe() | about
        if self.live is not None:
            said = self.live.describe()
            found |= said | {"notices": [*found["notices"], *said["notices"]]}
        return found

    def close(self) -> None:
        """End live telemetry."""
        if self.live is not None:
            self.live.close()


def beside_video(
    video: str | Path, camera: Camera | None = None, plane: LocalPlane | None = None, offset_s: float = 0.0
) -> CameraLocator | None:
    """The locator of a video by the DJI subtitles beside it; None where there are none.

    Raises:
        PointsError: they cannot be read.
        DataError: with them and the camera file no place is known.
    """
    path = beside(video)
    if path is None:
        return None
    subtitles = read_srt(path)
    locator = CameraLocator(subtitles.track, subtitles.lens, camera, plane, offset_s)
    locator.notices = (*locator.notices, *subtitles.track.notices)
    return locator


def _mounted(pose: Pose, camera: Camera) -> Pose:
    """The camera's pose: telemetry first, else the mount; a course is the vehicle's, to which the mount's yaw adds."""
    mount = camera.mount
    if pose.yaw_from == "course":
        yaw = None if pose.yaw_deg is None else pose.yaw_deg + (mount.yaw_deg or 0.0)
    else:
        yaw = mount.yaw_deg if pose.yaw_deg is None else pose.yaw_deg
    return dataclasses.replace(
        pose,
        height_m=mount.height_m if pose.height_m is None else pose.height_m,
        yaw_deg=yaw,
        pitch_deg=mount.pitch_deg if pose.pitch_deg is None else pose.pitch_deg,
        roll_deg=mount.roll_deg if pose.roll_deg is None else pose.roll_deg,
    )


def _focal(
    camera: Camera | None, lens: Lens, size: tuple[int, int]
) -> tuple[tuple[float, float], tuple[float, float], float]:
    if camera is not None and (camera.lens != Lens()):
        return camera.intrinsics(size)
    focal = lens.focal(size)
    return (focal.px, focal.px), (size[1] / 2, size[0] / 2), focal.error


def _known(lonlat: tuple[float, float] | None) -> tuple[float, float]:
    assert lonlat is not None
    return lonlat
