"""Train and score the networks that the papers compare by one recipe, at the size of two CPU cores.

python benchmarks/study.py DATA                    # trains what is left, scores what is new; DATA holds the sets
python benchmarks/study.py DATA --only roadedge-s  # one of them
python benchmarks/study.py DATA --score-only       # what is trained already, and the page
python benchmarks/study.py DATA --steps 5 -o /tmp/trial --results /tmp/trial/results --docs /tmp/trial/docs

Each network is trained by the recipe `training/study.toml` with its own name and inputs, and nothing else changed.
Killed at any moment, the same command goes on from the newest state. The trained networks stay in `runs/study/`; scores
go to `benchmarks/results/study/`, the page and its pictures to `docs/`.
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

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this folder's other files are found from the root

from benchmarks.study_page import write_page  # noqa: E402
from benchmarks.study_scores import CHECKPOINT, read_run, score_run  # noqa: E402
from roadedge.atomic import write_json  # noqa: E402
from roadedge.spec import sha256_of  # noqa: E402
from roadedge.training.recipe import Recipe, override, read_recipe  # noqa: E402

RECIPE = ROOT / "training" / "study.toml"
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
    """Parse, train what is left, score what is new, write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help=f"folder that holds {', '.join(SETS)}")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/study"), help="where the runs lie")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "study", help="of the JSON")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of study.md and images/")
    parser.add_argument("--only", action="append", choices=[c.name for c in CONTENDERS], help="may be repeated")
    parser.add_argument("--steps", type=int, help="fewer than the recipe's, for a trial")
    parser.add_argument("--score-only", action="store_true", help="train nothing")
    parser.add_argument("--no-score", action="store_true", help="train only")
    arguments = parser.parse_args()
    recipe = override(read_recipe(RECIPE), steps=arguments.steps)
    folders = [(arguments.data / name).resolve() for name in SETS]
    asked = [one for one in CONTENDERS if not arguments.only or one.name in arguments.only]
    arguments.output.mkdir(parents=True, exist_ok=True)
    if not arguments.score_only:
        with alone(arguments.output / ".lock"):
            for contender in asked:
                train_one(recipe_for(contender, recipe), folders, arguments.output / contender.name)
    if not arguments.no_score:
        for contender in asked:
            score_one(contender, arguments.output / contender.name, arguments.data, arguments.results)
        runs = [read_run(path) for path in sorted(arguments.results.glob("*.json"))]
        if not runs:
            sys.exit("nothing is trained to the end yet, so there is nothing to score; leave --score-only out")
        print(write_page(runs, arguments.docs).resolve())


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
    if not resume and folder.exists():  # killed before its first state, it has nothing to go on from
        if any(folder.iterdir()) and not (folder / "recipe.toml").exists():
            sys.exit(f"{folder} holds something that is no run of the study; choose another -o")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def on_step(step: int, steps: int, loss: float) -> None:
        if step % 50 == 0 or step == steps or steps < 50:
            say(f"{recipe.name}: step {step} of {steps}, loss {loss:.3f}, {time.monotonic() - began:.0f} s")

    try:
        train(recipe, folders, folder, resume=resume, report=say, on_step=on_step)
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here")
        sys.exit(130)


def score_one(contender: Contender, folder: Path, data: Path, results: Path) -> None:
    """Score a run that has ended, unless this very checkpoint was scored before."""
    if not (folder / DONE).exists():
        say(f"{contender.name}: not trained to the end, so not scored")
        return
    path = results / f"{contender.name}.json"
    if path.exists() and read_run(path)["checkpoint"]["sha256"] == sha256_of(folder / CHECKPOINT):
        say(f"{contender.name}: scored already, see {path}")
        return
    run = score_run(contender.name, folder, data)
    write_json(path, run)
    clear = run["conditions"]["clear"]["pooled"]["G_IoU"]
    say(f"{contender.name}: G_IoU {100 * clear:.2f} on clear samples, see {path}")


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
