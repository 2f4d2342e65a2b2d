"""What a result was made with: versions, processor, date and command, for sidecars and run folders."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import roadedge

_CREDENTIALS = re.compile(r"(?<=://)[^\s'\"]*@")
_SECRETS = re.compile(  # in the query of an address, and as properties of GStreamer's rtspsrc
    r"((?:[?&](?:user\w*|pass\w*|pwd|pw|token|auth\w*|secret|key|sig\w*)|\b(?:user|proxy)-(?:id|pw))=)[^&\s'\"]*",
    re.IGNORECASE,
)
PACKAGES = ("numpy", "opencv-python", "torch", "onnx", "onnxruntime", "openvino", "onnxsim", "av", "numba", "pyarrow")


def environment() -> dict[str, Any]:
    """Versions, machine, date and command as JSON values; no host name and no user name."""
    return {
        "roadedge": roadedge.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "cpu_count": usable_cpus(),
        "packages": {name: version for name in PACKAGES if (version := installed(name))},
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": command_line(sys.argv),
    }


def command_line(arguments: list[str]) -> str:
    """A command to read and type again, without what must not travel in a sidecar.

    Passwords in URLs are masked, and of a path that is absolute or leads out of the working folder only the last part
    is kept: folders name people and machines.
    """
    words = [Path(arguments[0]).name] if arguments else []
    for word in arguments[1:]:
        word = masked(word)
        word = re.sub(r"(^|[=,])((?:/|~/|(?:\.\./)+)(?:[^=,:]*/)?)([^/=,:]+)/?(?=$|[=,@])", r"\1\3", word)
        words.append(shlex.quote(word))
    return " ".join(words)


def masked(text: str) -> str:
    """An address, or a text that holds one, without user names, passwords and tokens."""
    return _SECRETS.sub(r"\1***", _CREDENTIALS.sub("***@", text))


def installed(package: str) -> str | None:
    """Version of an installed distribution, None where it is absent."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def usable_cpus() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()
