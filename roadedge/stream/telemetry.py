"""Live telemetry: the own receiver's NMEA or JSON over UDP as the track of a camera that moves while it delivers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from roadedge.georeference.live_track import LiveRow, LiveTrack
from roadedge.georeference.pose import Pose
from roadedge.stream.feeds import FeedOptions
from roadedge.stream.feeds_crs import check_crs
from roadedge.stream.feeds_json import sightings_with_rest
from roadedge.stream.feeds_nmea import NmeaSentences, motion
from roadedge.stream.feeds_time import RULES, Alignment
from roadedge.stream.feeds_udp import HostUtc, UdpFeed, UtcOf
from roadedge.stream.locate import UnknownPlace
from roadedge.stream.sources import Frame, Source
from roadedge.stream.udp_receiver import UdpAddress, UdpReceiver, bound
from roadedge.trajectory.datum import to_wgs84
from roadedge.trajectory.plane import LocalPlane

TOLERANCE_S = 2.0  # one second to the last fix of a receiver of 1 Hz, and as much for it to send and a frame to wait
REACH_M = 50e3  # from where a local plane touches: half a metre of error; beyond, or after a false first fix, a new one
SILENT_S = 10.0  # after which another host may go on
# of a JSON object beside lon, lat and t, and beyond which number it is none
KEYS = {"height_m": 1e5, "yaw_deg": 1e4, "pitch_deg": 90.0, "roll_deg": 1e4, "course_deg": 1e4, "speed_mps": 1e4}


class LiveTelemetry:
    """What arrives at a UDP port as a `LiveTrack`. The port may serve points beside the frames too, see `feed`.

    NMEA brings position, course and speed; JSON `lon`, `lat`, `t` and any of KEYS. The datagrams of one host are taken,
    the first that brings a position: those of another one are counted `other_sender`, until the first has been silent
    for 10 s. Other reasons are those of the formats (`UdpFeed`) and of `LiveTrack`.
    """

    timed = live = utc = True
    first_s: float | None = None

    def __init__(self, address: UdpAddress, datum: str = "wgs84", now_s: UtcOf | None = None) -> None:
        """Bind the port and begin to receive; `close` ends it.

        Args:
            address: of the port.
            datum: of longitude and latitude.
            now_s: seconds since 1970 by the host.

        Raises:
            SourceError: the port cannot be had.
        """
        self.address, self.track = address, LiveTrack()
        self._datum, self._now_s = datum, now_s or HostUtc().now_s
        self.dropped: Counter[str] = Counter()
        self.noticed: Counter[str] = Counter()
        self._nmea = NmeaSentences(self.dropped, self.noticed)
        self._host, self._heard_s = "", -math.inf
        self._alignment: Alignment | None = None
        self.receiver = UdpReceiver(bound(address), address.name)
        self.receiver.listen(self.receive)

    def align(self, source: Source, offset_s: float = 0.0, host: HostUtc | None = None) -> None:
        """Bring the frames of `source` onto the telemetry's clock; `offset_s` is added to the telemetry's times."""
        self._alignment = Alignment(self, source, offset_s, host)

    def time_of(self, frame: Frame) -> float | None:
        """The moment of a frame in the telemetry's clock, UTC; None where the frame has no time."""
        return None if self._alignment is None else self._alignment.feed_time_s(frame)

    def pose(self, frame: Frame) -> Pose:
        """Where the camera or its vehicle was when a frame was taken; raises UnknownPlace."""
        t_s = self.time_of(frame)
        if t_s is None:
            raise UnknownPlace("no time", "the frame has no capture time to look up in the telemetry")
        pose = self.track.at(t_s, TOLERANCE_S)
        if pose is None:
            raise UnknownPlace(*self.track.why_not(t_s, TOLERANCE_S))
        if pose.yaw_deg is None:
            raise UnknownPlace(
                "no heading yet", "the vehicle has not moved since its telemetry began, which says no yaw_deg either"
            )
        return pose

    @staticmethod
    def reaches(plane: LocalPlane, pose: Pose) -> bool:
        """Whether `plane` still serves at `pose`."""
        return bool(np.hypot(*plane.from_lonlat([[pose.lon_deg, pose.lat_deg]])[0]) < REACH_M)

    def feed(self, address: UdpAddress, options: FeedOptions) -> UdpFeed | None:
        """The same port as points beside the frames, None for another port; this telemetry closes it."""
        if not address.same_port(self.address):
            return None
        if options.points_crs is not None:
            check_crs(options.points_crs)
        return UdpFeed(self.receiver, address.name, options, address.own_times, self._now_s)

    def receive(self, datagram: bytes, sender: object) -> None:
        """Take in one datagram, as the receiver does."""
        host = str(sender[0]) if isinstance(sender, tuple) and sender else str(sender)
        arrival_s = self._now_s()
        if host != self._host and arrival_s < self._heard_s + SILENT_S:
            self.dropped["other_sender"] += bool(datagram)
            return
        content = datagram.strip(b" \t\r\n\0")
        if content[:1] in (b"{", b"["):
            rows = self._of_json(content, arrival_s)
        elif b"$" in content or content[:1] == b"!":
            rows = self._of_nmea(content, arrival_s)
        else:
            self.dropped["unreadable"] += bool(content)
            return
        if rows:
            self._host, self._heard_s = host, arrival_s

    def describe(self) -> dict[str, Any]:
        """For metrics.json: where it comes from, how it was aligned, and what was left out."""
        track = self.track
        rule = self._alignment.rule if self._alignment is not None else ""
        notices = [*track.notices(), *([self.receiver.problem()] if self.receiver.problem() else [])]
        return {
            "telemetry": self.address.name,
            "alignment": rule,
            "alignment_means": RULES.get(rule, "no frame with a time came"),
            "rows": track.taken,
            "dropped": dict(+(Counter(dict(self.dropped)) + Counter(dict(track.dropped)))),
            "noticed": dict(+(Counter(dict(self.noticed)) + Counter(dict(track.noticed)))),
            "yaw_from": track.yaw_from,
            "notices": notices,
        }

    def close(self) -> None:
        """End the receiver and give the port back; twice is no error."""
        self.receiver.close()

    def _of_nmea(self, content: bytes, arrival_s: float) -> int:
        """How many fixes were taken; all sentences of the host count as one receiver's, whatever port it sends from."""
        taken = 0
        for line in content.splitlines():
            said = motion(line)
            course_deg, speed_mps = said or (math.nan, math.nan)
            fixes = self._nmea.fixes(line, None, arrival_s)
            for t_s, lon, lat in fixes:
                row = self._row(t_s, lon, lat, arrival_s, {"course_deg": course_deg, "speed_mps": speed_mps})
                taken += self.track.add(row, arrival_s)
            if said is not None and not fixes:  # the RMC of a moment whose GGA came first
                self.track.steer(course_deg, speed_mps)
        return taken

    def _of_json(self, content: bytes, arrival_s: float) -> int:
        taken = 0
        found = sightings_with_rest(content, arrival_s, self.dropped, self.noticed, self.address.own_times)
        for (lonlat, t_s, x, y), item in found:
            if not lonlat:
                self.dropped["other_crs"] += 1
                continue
            taken += self.track.add(self._row(t_s, x, y, arrival_s, self._known(item)), arrival_s)
        return taken

    def _row(self, t_s: float, lon: float, lat: float, arrival_s: float, known: Mapping[str, float]) -> LiveRow:
        if self._datum != "wgs84":
            lon, lat = (float(moved[0]) for moved in to_wgs84(np.array([lon]), np.array([lat]), self._datum))
        return LiveRow(t_s if self.address.own_times else arrival_s, lon, lat, **known)

    def _known(self, item: Mapping[str, Any]) -> dict[str, float]:
        """The numbers of an object that are such; a position stays good without them."""
        known = {}
        for key, limit in KEYS.items():
            value = item.get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= limit:
                self.noticed[f"bad_{key}"] += 1
            else:
                known[key] = float(value)
        return known
