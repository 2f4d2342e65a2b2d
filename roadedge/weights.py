"""Finding a model: a file, or the name of a network that the package or the checkout carries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import roadedge
from roadedge.errors import ModelFileError, UnknownNameError, UsageError
from roadedge.run_folder import newest_run

SUFFIXES = (".onnx", ".pt", ".engine")  # in the order of preference: inference needs no torch
FOREIGN = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".safetensors")  # what a network can start from


def folders() -> list[Path]:
    """Where named networks lie: carried by the package, then `weights/` of the checkout, then of the working folder."""
    package = Path(roadedge.__file__).parent
    places = [package / "carried"]
    if (package.parent / "pyproject.toml").is_file():
        places.append(package.parent / "weights")
    places.append(Path.cwd() / "weights")
    return list(dict.fromkeys(place for place in places if place.is_dir()))


def find_model(model: str | Path, suffixes: Sequence[str] = SUFFIXES) -> Path:
    """The file of a MODEL argument.

    Args:
        model: a path that ends in one of `SUFFIXES`, or a name: `roadedge-s` (always fp32), `roadedge-s:fp16`.
        suffixes: the kinds of files that will do for a name, best first.

    Raises:
        ModelFileError: there is no such file, or it is of no known kind.
        UnknownNameError: no network of this name is carried; the message lists those that are.
        UsageError: the network is carried, but not in the kind that is needed.
    """
    text = str(model)
    path = Path(text).expanduser()
    if path.suffix in SUFFIXES or path.is_file():
        return _checked_file(path)
    if isinstance(model, Path) or "/" in text or "\\" in text:
        raise ModelFileError(
            f"{path} is no model file; expected one that ends in {_listed(SUFFIXES)}, or a network's name"
        )
    stem = text.replace(":", ".")
    for folder in folders():
        for suffix in suffixes:
            if (folder / f"{stem}{suffix}").is_file():
                return folder / f"{stem}{suffix}"
    if text in names():
        way = f"build one: roadedge build {text}" if ".engine" in suffixes else "give a path"
        raise UsageError(f"{text} is carried, but not as {_listed(suffixes)}, which is needed here; {way}")
    raise UnknownNameError(
        "model", text, names() or ["(no network is carried here; give the path of a .pt, .onnx or .engine file)"]
    )


def find_checkpoint(model: str | Path | None = None) -> Path:
    """The checkpoint of a MODEL argument; without one the newest run's `best.pt`, else the carried roadedge-s.

    Raises:
        as find_model; UsageError where another kind of file is given.
    """
    if model is None:
        run = newest_run("train", "best.pt")
        return find_model("roadedge-s", (".pt",)) if run is None else (run / "best.pt").resolve()
    path = find_model(model, (".pt",))
    if path.suffix != ".pt":
        raise UsageError(f"{path} is no checkpoint; expected a file that ends in .pt, as `roadedge train` writes it")
    return path


def find_weights(text: str, tell: Callable[[str], None] = lambda text: None) -> Path:
    """The file to start a network from: any weights, ours or others', by path, address or name of a carried network.

    Args:
        text: a path, an http(s) address, or a name; `#sha256=DIGEST` behind it is checked.
        tell: is given lines for the log, of fetching.

    Raises:
        as find_checkpoint and `downloads.fetch`; ModelFileError for a file that is absent, of another kind or digest.
    """
    from roadedge.downloads import check_digest, fetch, is_url, without_digest  # the net's modules are slow to load

    place, digest = without_digest(text)
    if is_url(place):
        return fetch(place, digest, tell)
    path = Path(place).expanduser()
    if path.suffix in FOREIGN and not path.is_file():
        raise ModelFileError(f"there is no file {path}; give weights that lie there, or an address")
    if path.exists() and path.suffix not in FOREIGN and place not in names():
        what = "a folder" if path.is_dir() else "of no kind that weights come in"
        raise ModelFileError(f"{path} is {what}; weights are a file that ends in {_listed(FOREIGN)}")
    if path.suffix not in FOREIGN:
        path = find_checkpoint(place)
    if digest is not None:
        check_digest(path, digest)
    return path


def names() -> list[str]:
    """What `find_model` knows by name: `roadedge-s`, `roadedge-s:fp16` and so on."""
    files = [file for folder in folders() for file in folder.iterdir() if file.suffix in SUFFIXES]
    return sorted({file.stem.replace(".", ":", 1) for file in files})


def _checked_file(path: Path) -> Path:
    if not path.is_file():
        raise ModelFileError(
            f"there is no model {path}; give a file that ends in {_listed(SUFFIXES)}, or a network's name"
        )
    if path.suffix not in SUFFIXES:
        raise ModelFileError(f"{path} is of no known kind; a model ends in {_listed(SUFFIXES)}")
    return path


def _listed(suffixes: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(suffixes[:-1]), suffixes[-1]]))
