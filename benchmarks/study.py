"""Train and score the networks that the papers compare by one recipe, at the size of two CPU cores.

python benchmarks/study.py DATA                    # trains what is left, scores what is new; DATA holds the sets
python benchmarks/study.py DATA --only roadedge-s  # one of them
python benchmarks/study.py DATA --steps 5 -o /tmp/trial --no-score

Each network is trained by the recipe `training/study.toml` with its own name and inputs, and nothing else changed. Killed
at any moment, the same command goes on from the newest state. Its trained networks stay in `runs/study/`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from roadedge.training.recipe import Recipe, override, read_recipe

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parent / "training" / "study.toml"
SETS = ("tianjin", "epfl", "sandiego")
BOTH = ("image", "trajectory")
DONE = "metrics.json"  # the last file that training writes


@dataclass(frozen=True, slots=True)
class Contender:
    """A network of the study, under the name that the papers' tables would give it."""

    name: str
    model: str
    inputs: tuple[str, ...]


CONTENDERS = (
    Contender("roadedge-s", "roadedge-s", BOTH),
    Contender("image-only", "dlinknet34-slim", ("image",)),
    Contender("early-fusion", "dlinknet34-slim", BOTH),
    Contender("late-fusion", "dlinknet34-late-slim", BOTH),
    Contender("cmmpnet", "cmmpnet-slim", BOTH),
    Contender("cmipnet", "cmipnet-slim", BOTH),
    Contender("trajectory-only", "dlinknet34-slim", ("trajectory",)),
)


def main() -> None:
    """Parse, train what is left."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help=f"folder that holds {', '.join(SETS)}")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/study"), help="where the runs lie")
    parser.add_argument("--only", action="append", choices=[c.name for c in CONTENDERS], help="may be repeated")
    parser.add_argument("--steps", type=int, help="fewer than the recipe's, for a trial")
    parser.add_argument("--no-score", action="store_true", help="train only")
    arguments = parser.parse_args()
    recipe = override(read_recipe(RECIPE), steps=arguments.steps)
    folders = [(arguments.data / name).resolve() for name in SETS]
    arguments.output.mkdir(parents=True, exist_ok=True)
    with alone(arguments.output / ".lock"):
        for contender in CONTENDERS:
            if not arguments.only or contender.name in arguments.only:
                train_one(recipe_for(contender, recipe), folders, arguments.output / contender.name)


def recipe_for(contender: Contender, recipe: Recipe) -> Recipe:
    """The study's recipe with a contender's network, inputs and name."""
    return override(recipe, name=f"study-{contender.name}", model=contender.model, inputs=contender.inputs)


def train_one(recipe: Recipe, folders: list[Path], folder: Path) -> None:
    """Train to the end, from the newest state where there is one; a run that has ended is left as it is."""
    if (folder / DONE).exists():
        say(f"{recipe.name}: trained already, see {folder}")
        return
    from roadedge.training.loop import train

    resume = (folder / "state.pt").exists()
    if not resume:  # what was killed before its first state has nothing to go on from
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def on_step(step: int, steps: int, loss: float) -> None:
        if step % 50 == 0 or step == steps or steps < 50:
            say(f"{recipe.name}: step {step} of {steps}, loss {loss:.3f}, {time.monotonic() - began:.0f} s")

    train(recipe, folders, folder, resume=resume, report=say, on_step=on_step)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, so that two studies do not write into one folder."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"another study is at work in {path.parent.resolve()}; wait for it or choose another -o")
        yield


def say(text: str) -> None:
    """A line on stderr, with the time of day."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
