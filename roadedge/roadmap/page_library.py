"""Leaflet, the map library of the page, out of its installed package, with its licence."""

from __future__ import annotations

import base64
import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path

from roadedge.errors import EnvironmentFault, MissingExtraError

PACKAGE = "XStatic-Leaflet"
LICENCE = """BSD 2-Clause License

Copyright (c) 2010-2022, Vladimir Agafonkin
Copyright (c) 2010-2011, CloudMade
All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following
   disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following
   disclaimer in the documentation and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE."""


@dataclass(frozen=True, slots=True)
class MapLibrary:
    """The text of a map library: what runs, how it looks, and the licence that goes along."""

    name: str
    script: str
    style: str
    licence: str


def map_library() -> MapLibrary:
    """Leaflet as its package ships it; nothing of it is imported, and pictures of its style lie in the style itself.

    Raises:
        MissingExtraError: the package is not installed (extra `geo`).
        EnvironmentFault: it is, and lacks its files.
    """
    try:
        found = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtraError(PACKAGE, "geo", "drawing the page of a map") from error
    files = {Path(str(one)).name: Path(str(found.locate_file(one))) for one in found.files or ()}
    try:
        script = files["leaflet.js"].read_text(encoding="utf-8")
        style = _inlined(files["leaflet.css"].read_text(encoding="utf-8"), files)
    except (KeyError, OSError) as error:
        raise EnvironmentFault(
            f"{PACKAGE} {found.version} is installed without its files ({error}); install it again with pip install "
            f"--force-reinstall {PACKAGE}"
        ) from error
    version = re.search(r"Leaflet (\d+\.\d+\.\d+)", script[:300])
    script = re.sub(r"\s*//# sourceMappingURL=\S+\s*$", "\n", script)  # the map of its sources is not in the page
    return MapLibrary(f"Leaflet {version[1] if version else found.version}", script, style, LICENCE)


def _inlined(style: str, files: dict[str, Path]) -> str:
    """A style sheet with the pictures that it names inside."""

    def picture(match: re.Match[str]) -> str:
        name = match[1].strip("'\"").rsplit("/", 1)[-1]
        if not name.endswith(".png"):
            return match[0]  # Internet Explorer's behaviours
        return f"url(data:image/png;base64,{base64.b64encode(files[name].read_bytes()).decode()})"

    return re.sub(r"url\(([^)]+)\)", picture, style)
