"""Starting from files that are not what they should be: each is told in a sentence, before any work."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from roadedge.cli import main
from roadedge.downloads import cache_folder
from roadedge.errors import ModelFileError, SpecMismatchError
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.checkpoint import save_network
from roadedge.models.key_maps import load_mapped
from roadedge.models.published import PUBLISHED
from roadedge.models.start import check_start, recognised, start_from_file
from roadedge.models.weight_file import read_weight_file
from roadedge.spec import ModelSpec
from roadedge.weights import find_weights
from tests.models import foreign_names as names
from tests.models.networks import disturb_norms, random_feeds
from tests.models.test_imagenet import small_resnet

BOTH, TURNED = ("image", "trajectory"), ("trajectory", "image")


class RunsCode:
    """What a file does that is loaded without care: it makes the file `ran`."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.ran}",)


def made(name: str, inputs: tuple[str, ...] = BOTH) -> RoadNet:
    torch.manual_seed(0)
    return create_model(name, ModelSpec(name, inputs))


class TestFiles:
    @pytest.mark.parametrize("legacy", [False, True])
    def test_code_in_a_file_is_never_run(self, tmp_path: Path, legacy: bool) -> None:
        content = {"state_dict": names.drawn(small_resnet()), "hook": RunsCode(tmp_path / "ran")}
        path = tmp_path / "w.pth"
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(ModelFileError, match=r"could run code \(it asks for posix\.system\)"):
            start_from_file(made("dlinknet34-slim"), path)
        assert not (tmp_path / "ran").exists()
        torch.load(path, weights_only=False)  # the file does what it says
        assert (tmp_path / "ran").exists()

    @pytest.mark.parametrize("protocol", [0, 2, 5])
    def test_nor_in_a_bare_pickle(self, tmp_path: Path, protocol: int) -> None:
        (tmp_path / "w.pt").write_bytes(pickle.dumps({"a": RunsCode(tmp_path / "ran")}, protocol))
        with pytest.raises(ModelFileError):
            check_start("dlinknet34-slim", BOTH, tmp_path / "w.pt")
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        "content",
        [
            {key: value.numpy() for key, value in names.drawn(small_resnet()).items()},
            {"state_dict": names.drawn(small_resnet()), "best": np.float64(0.5)},
            {"model": names.drawn(small_resnet()), "best": np.float64(0.5)},
        ],
    )
    def test_the_way_out_that_is_said_works(
        self, tmp_path: Path, content: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(ModelFileError, match="it asks for numpy") as caught:
            read_weight_file(tmp_path / "w.pth")
        monkeypatch.chdir(tmp_path)
        exec(str(caught.value).split('python -c "')[1].rstrip('"'), {})  # as a person would paste it
        network = made("dlinknet34-slim")
        start_from_file(network, tmp_path / "weights.pth")
        assert torch.equal(
            network.state_dict()["stream.stem.conv1.weight"], names.drawn(small_resnet())["conv1.weight"]
        )

    def test_other_archives_are_called_what_they_are(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "program.pt", "w") as archive:  # as torch.jit.save lays it out
            for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
                archive.writestr(f"program/{name}", b"")
        with pytest.raises(ModelFileError, match="a TorchScript program"):
            check_start("dlinknet34-slim", BOTH, tmp_path / "program.pt")
        np.savez(tmp_path / "w.npz", a=np.zeros(3))
        with pytest.raises(ModelFileError, match="of no kind that weights come in"):
            find_weights(str(tmp_path / "w.npz"))
        shutil.copy(tmp_path / "w.npz", tmp_path / "w.pth")
        with pytest.raises(ModelFileError, match="an archive, but not one of torch's"):
            read_weight_file(tmp_path / "w.pth")
        with pytest.raises(ModelFileError, match="is a folder"):
            find_weights(str(tmp_path))

    def test_a_fetched_file_that_cannot_be_read_is_to_be_deleted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ROADEDGE_CACHE", str(tmp_path / "kept"))
        torch.save({"a": torch.rand(1000)}, tmp_path / "w.pth")
        cut = cache_folder() / "downloads" / "w.pth"
        cut.parent.mkdir(parents=True)
        for path in (cut, tmp_path / "cut.pth"):
            path.write_bytes((tmp_path / "w.pth").read_bytes()[:2000])
        with pytest.raises(ModelFileError, match="delete it, or it is taken again"):
            read_weight_file(cut)
        with pytest.raises(ModelFileError) as caught:
            read_weight_file(tmp_path / "cut.pth")
        assert "delete" not in str(caught.value)

    def test_a_checkpoint_of_ours_is_known_whatever_it_is_called(self, tmp_path: Path) -> None:
        save_network(tmp_path / "own.pt", made("roadedge-n"), {})
        (tmp_path / "own.pt").rename(tmp_path / "own.pth")
        loaded = start_from_file(made("roadedge-n"), tmp_path / "own.pth")
        assert loaded.unmatched == 0

    def test_the_state_of_a_run_says_what_to_take_instead(self, tmp_path: Path) -> None:
        torch.save({"recipe": "", "step": 1, "network": {"a": torch.rand(2)}}, tmp_path / "state.pt")
        with pytest.raises(ModelFileError, match=r"start from best\.pt"):
            check_start("roadedge-n", BOTH, tmp_path / "state.pt")


class TestValues:
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_failed_training_is_refused_and_nothing_changes(self, tmp_path: Path, value: float) -> None:
        weights = names.drawn(small_resnet())
        weights["layer3.2.conv1.weight"][0, 0, 0, 0] = value
        torch.save(weights, tmp_path / "w.pth")
        network = made("dlinknet34-slim")
        before = {key: one.clone() for key, one in network.state_dict().items()}
        with pytest.raises(ModelFileError, match=r"1 of 2.. hold NaN or infinity, the first is 'layer3\.2\.conv1"):
            start_from_file(network, tmp_path / "w.pth")
        assert all(torch.equal(one, before[key]) for key, one in network.state_dict().items())

    @pytest.mark.parametrize("kind", [torch.int64, torch.complex64])
    def test_numbers_of_another_kind_are_no_weights(self, tmp_path: Path, kind: torch.dtype) -> None:
        weights = names.drawn(small_resnet())
        weights["bn1.weight"] = weights["bn1.weight"].to(kind)
        torch.save(weights, tmp_path / "w.pth")
        with pytest.raises(ModelFileError, match=f"'bn1.weight' is .* of {kind}, and"):
            check_start("dlinknet34-slim", BOTH, tmp_path / "w.pth")

    def test_half_precision_is_taken(self, tmp_path: Path) -> None:
        torch.save({key: value.half() for key, value in names.drawn(small_resnet()).items()}, tmp_path / "w.pth")
        network = made("dlinknet34-slim")
        start_from_file(network, tmp_path / "w.pth")
        assert network.state_dict()["stream.stem.conv1.weight"].dtype == torch.float32


PUBLISHED_FILES = [
    ("cmipnet-slim", names.cmipnet(0.25)),
    ("cmipnet-hrnet18-slim", names.cmip_hrnet(0.25)),
    ("cmmpnet-slim", names.cmmpnet(0.25)),
]


def from_published(name: str, inputs: tuple[str, ...], weights: dict[str, Tensor]) -> RoadNet:
    network = made(name, inputs)
    key_map = recognised(weights, PUBLISHED, network)
    assert key_map is not None
    load_mapped(network, weights, key_map, complete=len(inputs) == 2)
    return network.eval()


def levelled(value: Tensor) -> Tensor:
    """A drawn convolution with a mean of zero and a gain of about one, so that no map runs away; others as they are."""
    return (value - 0.6) * (24 / value[0].numel()) ** 0.5 if value.ndim > 1 else value


@pytest.mark.parametrize(("name", "shapes"), PUBLISHED_FILES, ids=[one[0] for one in PUBLISHED_FILES])
class TestStreamsOfAPublishedFile:
    """In the file the image is the first stream; here the inputs may stand in another order, or be one alone."""

    def test_the_order_of_the_inputs_does_not_swap_them(self, name: str, shapes: names.Shapes) -> None:
        weights = {key: levelled(value) for key, value in names.drawn(shapes).items()}
        straight, swapped = (from_published(name, inputs, weights) for inputs in (BOTH, TURNED))
        feeds = random_feeds(straight, 64, 64, 1)
        with torch.no_grad():
            one, other = straight(feeds)["logits"], swapped(feeds)["logits"]
        assert float(one.std()) > 0
        assert torch.allclose(one, other, rtol=1e-3, atol=float(one.abs().max()) * 1e-5)

    def test_a_raster_alone_gets_the_norms_of_its_own_stream(self, name: str, shapes: names.Shapes) -> None:
        weights = names.drawn(shapes)
        both, alone = from_published(name, BOTH, weights), from_published(name, ("trajectory",), weights)
        own, whole = alone.state_dict(), both.state_dict()
        checked = 0
        for key, value in own.items():
            theirs = key.replace(".norms.0.", ".norms.1.")
            if theirs != key:
                assert torch.equal(value, whole[theirs]), key
                checked += 1
        assert checked > 100 or name.startswith("cmmpnet")  # whose streams are named, not numbered


class TestStreamsOfACheckpointOfOurs:
    def test_a_raster_alone_gets_the_norms_of_its_own_stream(self, tmp_path: Path) -> None:
        whole = made("cmipnet-slim")
        disturb_norms(whole)
        save_network(tmp_path / "both.pt", whole, {})
        for inputs, number in ((("trajectory",), 1), (("lidar",), 1), (("image",), 0)):
            alone = made("cmipnet-slim", inputs)
            loaded = start_from_file(alone, tmp_path / "both.pt")
            got, want = alone.state_dict(), whole.state_dict()
            for leaf in ("weight", "running_mean"):
                for part in ("layers.2.3.second", "decoders.0.enlarge"):
                    assert torch.equal(got[f"{part}.norms.0.{leaf}"], want[f"{part}.norms.{number}.{leaf}"])
            other = BOTH[1 - number]
            assert f"layers.0.0.first.norms.{1 - number} of {other}.weight" in loaded.left

    def test_another_raster_takes_the_place_of_the_first(self, tmp_path: Path) -> None:
        whole = made("cmmpnet-slim")
        save_network(tmp_path / "both.pt", whole, {})
        other = made("cmmpnet-slim", ("image", "lidar"))
        start_from_file(other, tmp_path / "both.pt")
        name = "enhance.3.senders.1.squeeze.weight"
        assert torch.equal(other.state_dict()[name], whole.state_dict()[name])

    def test_another_order_is_refused(self, tmp_path: Path) -> None:
        save_network(tmp_path / "both.pt", made("roadedge-n"), {})
        with pytest.raises(SpecMismatchError, match="was trained on image,trajectory, and here they stand in another"):
            start_from_file(made("roadedge-n", TURNED), tmp_path / "both.pt")


class TestCommand:
    def test_what_does_not_fit_is_said_before_any_data_are_looked_at(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from roadedge.training import loop

        monkeypatch.setattr(loop, "train", lambda *_: pytest.fail("training had begun"))
        monkeypatch.chdir(tmp_path)
        torch.save(names.drawn(small_resnet()), tmp_path / "w.pth")
        assert main(["train", "--model", "unet", "--steps", "1", "--init", "w.pth", "-o", "run"]) == 8
        assert "unet starts from no such file" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()

    def test_weights_of_imagenet_are_sent_to_the_other_command(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        torch.save(names.drawn(small_resnet()), tmp_path / "w.pth")
        assert main(["convert", str(tmp_path / "w.pth"), "-o", str(tmp_path / "out")]) == 8
        assert "looks like ImageNet weights of ResNet-34" in (err := capsys.readouterr().err)
        assert "train --init" in err
