"""A training starts from weights of others: by file or address, from the command line or the recipe, written down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from roadedge.cli import main
from roadedge.errors import ModelFileError
from roadedge.models.checkpoint import load_network
from roadedge.spec import sha256_of
from roadedge.training.loop import train
from roadedge.training.recipe import Recipe, override, read_recipe, to_toml
from tests.models import foreign_names as names
from tests.models.test_imagenet import small_resnet

SLIM = Recipe(
    "slim", "dlinknet34-slim", steps=1, batch=2, crop=64, lr=1e-9, warmup_steps=0, ema=0.0, precision="fp32",
    evaluate_every=1, evaluate_most=1, panels=0,
)  # fmt: skip


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    torch.save({"state_dict": names.drawn(small_resnet())}, tmp_path / "resnet.pth")
    return tmp_path / "resnet.pth"


def test_the_run_says_what_it_started_from_and_so_do_its_checkpoints(
    folder: Path, resnet: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    result = train(SLIM, [folder], tmp_path / "run", init=resnet, report=lines.append)
    started = next(line for line in lines if line.startswith("started from"))
    assert "ImageNet weights of ResNet-34 (torchvision's names): 216 weights taken" in started
    assert "stream.stem.second.weight: the first convolution of a raster stays as drawn" in started
    assert "  stream.decoders: " in started
    written = json.loads((tmp_path / "run" / "start.json").read_text())
    assert written["copied"]["stream.layer2.0.conv1.weight"] == "layer2.0.conv1.weight"
    assert written["left"] == ["fc.weight", "fc.bias"]
    network, provenance = load_network(result.folder / "last.pt")
    assert provenance["started_from"] == {
        "file": "resnet.pth",
        "sha256": sha256_of(resnet),
        "called": "ImageNet weights of ResNet-34 (torchvision's names)",
    }
    want = names.drawn(small_resnet())["layer3.1.conv1.weight"]
    assert torch.allclose(network.state_dict()["stream.layer3.1.conv1.weight"], want, atol=1e-6)


def test_a_resumed_run_still_knows_it(folder: Path, resnet: Path, tmp_path: Path) -> None:
    recipe = override(SLIM, steps=2, save_every=1)
    train(recipe, [folder], tmp_path / "run", init=resnet, report=lambda text: None)
    result = train(recipe, [folder], tmp_path / "run", resume=True, report=lambda text: None)
    assert load_network(result.folder / "last.pt")[1]["started_from"]["file"] == "resnet.pth"


def test_weights_of_another_network_leave_no_run_behind(folder: Path, tmp_path: Path) -> None:
    torch.save(names.drawn({"stem.weight": (4, 3, 3, 3)}), tmp_path / "other.pth")
    out = tmp_path / "run"
    arguments = ["train", str(folder), "--model", "dlinknet34-slim", "--init", str(tmp_path / "other.pth"), "--quiet"]
    assert main([*arguments, "--steps", "1", "--crop", "64", "--batch", "2", "-o", str(out)]) == 8
    assert not out.exists()


def test_a_recipe_names_its_start_and_the_command_line_goes_before_it(
    folder: Path, resnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "slim.toml"
    recipe.write_text(to_toml(override(SLIM, init=f"{resnet}#sha256={sha256_of(resnet)}")))
    assert read_recipe(recipe).init.endswith(sha256_of(resnet))
    assert main(["train", str(folder), "--recipe", str(recipe), "--threads", "1", "-o", str(tmp_path / "a")]) == 0
    assert "started from" in capsys.readouterr().err
    wrong = f"{resnet}#sha256={'0' * 64}"
    options = ["--recipe", str(recipe), "--init", wrong, "-o", str(tmp_path / "b")]
    assert main(["train", str(folder), *options]) == 8
    assert "was expected" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_recipe_starts_from_nothing_unless_it_says_so() -> None:
    assert Recipe().init == ""


def test_a_network_that_nobody_trained_elsewhere_says_what_it_starts_from(folder: Path, resnet: Path) -> None:
    with pytest.raises(ModelFileError, match="roadedge-n starts from no such file"):
        train(
            override(SLIM, model="roadedge-n"), [folder], resnet.parent / "run", init=resnet, report=lambda text: None
        )
