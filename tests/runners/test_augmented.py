"""Views, scales and windows around a runner: what must come out the same comes out the same, to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from roadedge.errors import DataError, NonFiniteError, SpecMismatchError, UnknownNameError, UsageError
from roadedge.export import export_model
from roadedge.postprocess import postprocess
from roadedge.preprocess import Feeds, preprocess
from roadedge.runners import Augmentation, open_runner
from roadedge.runners.augmentation import cost_line, parse_augmentation, symmetries, turned, turned_back
from roadedge.runners.augmented import AugmentedRunner, augmented
from roadedge.runners.base import CheckedRunner, Requested
from roadedge.runners.windows import Stitching, lay_along
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from tests.export.artefacts import SIZE, Artefacts, noise, samples

REACH = 3  # pixels that the box below looks to each side


class Box(CheckedRunner):
    """The mean level of the 7 x 7 pixels around, zeros beyond the window: as a convolution sees it, and symmetric."""

    name, version, device, precision, graph_precision = "box", "1", "CPU", "fp32", "fp32"

    def __init__(self, spec: ModelSpec | None = None, bias: float = 0.0) -> None:
        super().__init__()
        self.spec = spec or ModelSpec("box", ("image",), stride=8)
        self.provenance, self.requested = {}, Requested()
        self.bias, self.fed = bias, list[tuple[int, ...]]()

    def _run(self, feeds: Feeds, logits: bool) -> Feeds:
        self.fed.append(feeds["image"].shape)
        said = np.stack([self.say(plane[..., 0]) for plane in feeds["image"]])
        out: Feeds = {"probability": np.rint(said / 49).astype(np.uint8)}
        if logits:
            steps = np.rint((said / 49 - 127.5) * 8) / 256 + self.bias  # few bits, so that sums of eight are exact
            out["logits"] = steps.astype(np.float32)[:, None]
        return out

    def say(self, plane: NDArray[np.uint8]) -> NDArray[np.float64]:
        box = cv2.boxFilter(plane.astype(np.float64), -1, (7, 7), normalize=False, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(box)

    def _release(self) -> None:
        self.fed.clear()


class Leaning(Box):
    """Looks up and to the left alone: no symmetry at all."""

    def say(self, plane: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.pad(plane, ((3, 0), (3, 0)))[:-3, :-3].astype(np.float64) * 49


class Same(Box):
    """Says what it sees."""

    def say(self, plane: NDArray[np.uint8]) -> NDArray[np.float64]:
        return plane.astype(np.float64) * 49


def picture(height: int = 96, width: int = 136, seed: int = 0) -> Feeds:
    generator = np.random.default_rng(seed)
    return {"image": generator.integers(0, 256, (1, height, width, 3), dtype=np.uint8)}


def asked(runner: CheckedRunner, feeds: Feeds, logits: bool = False, **how: Any) -> Feeds:
    return AugmentedRunner(runner, Augmentation(**how)).infer(feeds, logits)


def inside(plane: NDArray[Any], rim: int = REACH) -> NDArray[Any]:
    return plane[..., rim:-rim, rim:-rim]


class TestViews:
    def test_eight_views_are_all_different_and_turn_back(self) -> None:
        plane = np.arange(6).reshape(2, 3)
        views = {turned(plane, *view).tobytes() + bytes(turned(plane, *view).shape) for view in symmetries(8)}
        assert len(views) == 8
        assert all((turned_back(turned(plane, *view), *view) == plane).all() for view in symmetries(8))

    @pytest.mark.parametrize("tta", [2, 4, 8])
    @pytest.mark.parametrize("average", ["logits", "probability"])
    def test_of_a_symmetric_network_they_say_what_one_look_says(self, tta: int, average: str) -> None:
        runner, feeds = Box(), picture()
        plain = runner.infer(feeds, logits=True)
        got = asked(runner, feeds, logits=True, tta=tta, average=average)
        assert np.array_equal(got["logits"], plain["logits"])
        if average == "probability":
            assert np.array_equal(got["probability"], plain["probability"])

    def test_of_another_network_they_are_the_mean_of_what_the_turned_images_give(self) -> None:
        runner, feeds = Leaning(), picture(64, 64)
        by_hand = []
        for view in symmetries(8):
            look = {"image": turned(feeds["image"][0], *view)[None]}
            by_hand.append(turned_back(runner.infer(look, logits=True)["logits"][0, 0], *view))
        mean = np.mean(by_hand, 0, dtype=np.float64)
        got = asked(runner, feeds, logits=True, tta=8)
        assert np.allclose(got["logits"][0, 0], mean, atol=1e-5)
        assert np.abs(got["probability"][0] - 255 / (1 + np.exp(-mean))).max() < 0.51
        assert len(np.unique(np.round(by_hand, 3))) > 8  # the views do differ

    def test_logits_and_probability_are_two_different_means(self) -> None:
        runner, feeds = Leaning(), picture(64, 64)
        logits, probability = (asked(runner, feeds, tta=8, average=name) for name in ("logits", "probability"))
        assert not np.array_equal(logits["probability"], probability["probability"])

    def test_each_image_of_a_batch_is_on_its_own(self) -> None:
        runner, two = Leaning(), {"image": np.concatenate([picture(seed=1)["image"], picture(seed=2)["image"]])}
        both = asked(runner, two, tta=4)["probability"]
        alone = [asked(runner, picture(seed=seed), tta=4)["probability"][0] for seed in (1, 2)]
        assert np.array_equal(both, np.stack(alone))


class TestWindows:
    @pytest.mark.parametrize(("window", "margin"), [((32, 32), 3), ((32, 32), 8), ((40, 64), 4), ((96, 32), 15)])
    def test_over_a_network_of_small_reach_they_equal_the_whole_image_to_the_bit(
        self, window: tuple[int, int], margin: int
    ) -> None:
        runner, feeds = Box(), picture()
        whole = runner.infer(feeds, logits=True)
        got = asked(runner, feeds, logits=True, window=window, margin=margin)
        for name in ("probability", "logits"):  # the rim too: windows at the rim see what the whole image sees
            assert np.array_equal(got[name], whole[name])

    def test_without_a_margin_they_differ_at_their_seams_alone(self) -> None:
        runner, feeds = Box(), picture(64, 64)
        whole = runner.infer(feeds)["probability"][0]
        got = asked(runner, feeds, window=(32, 32), margin=0)["probability"][0]
        seam = np.zeros((64, 64), bool)
        seam[32 - REACH : 32 + REACH] = seam[:, 32 - REACH : 32 + REACH] = True
        assert np.array_equal(got[~seam], whole[~seam])
        assert (got[seam] != whole[seam]).mean() > 0.5

    def test_blended_they_are_near_it_everywhere_and_equal_where_one_window_sees(self) -> None:
        runner, feeds = Box(), picture(64, 64)
        whole = runner.infer(feeds, logits=True)["logits"][0, 0]
        got = asked(runner, feeds, logits=True, window=(48, 48), margin=8, merge="blend")["logits"][0, 0]
        assert np.allclose(got[:16, :16], whole[:16, :16], atol=1e-5)
        assert np.abs(got - whole).max() < np.abs(whole).max() / 2

    @pytest.mark.parametrize("merge", ["crop", "blend"])
    @pytest.mark.parametrize(("window", "margin"), [(32, 0), (32, 7), (64, 31), (24, 8)])
    def test_what_windows_say_is_weighted_as_by_hand(self, merge: str, window: int, margin: int) -> None:
        rng = np.random.default_rng(margin)
        rows, columns = lay_along(90, window, margin, 8, False), lay_along(133, window, margin, 8, True)
        stitching, values, weights = Stitching(rows, columns, merge), np.zeros((96, 136)), np.zeros((96, 136))
        depth = np.minimum(np.arange(1, window + 1), np.arange(window, 0, -1))
        fading = np.minimum(depth / (2 * margin + 1), 1)
        for i, y in enumerate(rows.starts):
            for j, x in enumerate(columns.starts):
                said = rng.normal(size=(window, window)).astype(np.float32)
                stitching.put(i, j, said)
                weight = np.outer(fading, fading)
                if merge == "crop":  # from one window, at least a margin inside it but for the rim of the image
                    (top, bottom), (left, right) = rows.owned(i), columns.owned(j)
                    weight = np.zeros((window, window))
                    weight[top - y : bottom - y, left - x : right - x] = 1
                    assert all(first == 0 or first - start >= margin for first, start in ((top, y), (left, x)))
                    assert bottom == 96 or y + window - bottom >= margin
                    assert right == 136 or x + window - right >= margin
                values[y : y + window, x : x + window] += weight * said
                weights[y : y + window, x : x + window] += weight
        assert merge == "blend" or (weights == 1).all()
        assert np.allclose(stitching.whole(), values / weights, atol=1e-4)

    def test_the_papers_windows_lie_where_the_paper_lays_them(self) -> None:
        runner = Box(ModelSpec("box", ("image",), stride=1))
        wrapped = AugmentedRunner(runner, Augmentation(window=(512, 512), margin=72))
        rows, _ = wrapped._axes(1300, 1300)
        assert rows.starts == (0, 368, 736, 788)  # stride 368, the last one shifted inside
        assert [rows.owned(i) for i in range(4)] == [(0, 440), (440, 808), (808, 1018), (1018, 1300)]

    def test_an_image_smaller_than_the_window_is_seen_once_and_whole(self) -> None:
        runner, feeds = Box(), picture(40, 48)
        got = asked(runner, feeds, window=(64, 64))
        assert runner.fed == [(1, 40, 48, 3)]
        assert np.array_equal(got["probability"], runner.infer(feeds)["probability"])

    def test_a_fixed_graph_that_is_wider_than_high_is_turned_too(self) -> None:
        free, fixed = Box(), Box(ModelSpec("box", ("image",), size=(32, 64), batch=2, stride=8))
        feeds = picture(64, 96)
        want = asked(free, feeds, tta=8)["probability"]
        got = asked(fixed, feeds, tta=8, margin=4)["probability"]
        assert np.array_equal(inside(got), inside(want))
        assert {shape[1:3] for shape in fixed.fed} == {(32, 64)}
        assert {shape[0] for shape in fixed.fed} == {2}


class TestScales:
    def test_one_is_the_image_as_it_is(self) -> None:
        runner, feeds = Leaning(), picture()
        assert np.array_equal(asked(runner, feeds, window=(96, 136))["probability"], runner.infer(feeds)["probability"])

    def test_the_network_is_fed_each_of_them(self) -> None:
        runner = Box()
        asked(runner, picture(96, 136), scales=(0.5, 1.0, 1.25))
        assert [shape[1:3] for shape in runner.fed] == [(48, 72), (96, 136), (120, 176)]  # up to the stride of 8

    def test_what_does_not_change_with_scale_is_left(self) -> None:
        flat = {"image": np.full((1, 64, 64, 3), 200, np.uint8)}
        got = asked(Box(), flat, scales=(0.75, 1.0, 1.5), tta=8, average="probability")["probability"]
        assert (inside(got, 8) == 200).all()

    @pytest.mark.parametrize("scale", [0.5, 0.75, 1.25, 2.0])
    def test_they_move_nothing_by_a_part_of_a_pixel(self, scale: float) -> None:
        y, x = np.mgrid[0:96, 0:160]
        smooth = (127 + 100 * np.sin(x / 23) * np.cos(y / 17)).astype(np.uint8)
        feeds = {"image": np.repeat(smooth[None, ..., None], 3, 3)}
        got = asked(Same(), feeds, scales=(scale,), tta=8, average="probability")["probability"][0]
        apart = got.astype(float) - smooth
        for axis in (0, 1):
            slope = np.gradient(smooth.astype(float), axis=axis)
            assert abs((apart * slope).sum() / (slope**2).sum()) < 0.01  # pixels
        assert np.abs(apart).max() <= 3

    def test_both_inputs_are_scaled_and_turned_alike(self, artefacts: Artefacts) -> None:
        how = Augmentation(8, (0.5, 1.0))
        with open_runner(artefacts.checkpoint, threads=1, augmentation=how) as runner:
            assert runner.infer(noise(size=(96, 128)))["probability"].shape == (1, 96, 128)


class TestBackEnds:
    @pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
    def test_a_static_graph_says_what_the_checkpoint_says(self, artefacts: Artefacts, backend: str) -> None:
        if backend == "openvino":
            pytest.importorskip("openvino")
        feeds, how = noise(size=(SIZE[0] * 2, SIZE[1] + 32)), Augmentation(8, window=SIZE, margin=8)
        with open_runner(artefacts.checkpoint, threads=1, augmentation=how) as torch_runner:
            want = torch_runner.infer(feeds, logits=True)
        with open_runner(artefacts.fp32, backend, threads=1, augmentation=how) as runner:
            got = runner.infer(feeds, logits=True)
            assert runner.spec.size is None
        assert np.abs(got["logits"] - want["logits"]).max() < 1e-5 * np.abs(want["logits"]).max()
        assert np.abs(got["probability"].astype(int) - want["probability"]).max() <= 1

    def test_a_graph_that_is_not_square_goes_all_the_way_to_the_mask(
        self, artefacts: Artefacts, tmp_path: Path
    ) -> None:
        onnx = export_model(artefacts.checkpoint, tmp_path, size=(64, 96), samples=samples()).onnx
        image = np.random.default_rng(1).integers(0, 256, (100, 90, 3), dtype=np.uint8)
        sample = Sample(image, gsd_m=0.46)
        with open_runner(onnx, "onnxruntime", threads=1, augmentation=Augmentation(8)) as runner:
            mask = postprocess(runner.infer(preprocess(sample, runner.spec)), runner.spec, sample)
            how = runner.describe()["augmentation"]
        assert mask.probability.shape == (100, 90)
        assert (how["window"], how["margin"]) == ([64, 96], 8)
        assert how["calls"] > 8


class TestCost:
    def test_calls_and_pixels_are_counted(self) -> None:
        runner = AugmentedRunner(Box(), Augmentation(8, (1.0, 2.0), average="probability"))
        assert runner.cost()["times_the_pixels"] is None
        runner.infer(picture(64, 64))
        assert runner.cost() == {"images": 1, "calls": 16, "calls_per_image": 16, "times_the_pixels": 8 * (1 + 4)}
        said = json.loads(json.dumps(runner.describe()))
        assert said["backend"] == "box"
        assert cost_line(said) == (
            "test-time augmentation by 8 views; scales 1,2, mean of probability: "
            "16 calls an image, 40 times the pixels of one look"
        )
        assert runner.last_ms["infer"] > 0

    def test_a_plain_look_is_the_runner_itself(self) -> None:
        runner = Box()
        assert augmented(runner, Augmentation()) is runner
        assert augmented(runner, None) is runner
        assert cost_line(runner.describe()) is None


class TestComplaints:
    @pytest.mark.parametrize(
        ("how", "match"),
        [
            ({"tta": 3}, "1, 2, 4 or 8"),
            ({"scales": (0.0, 1.0)}, "between 0.1 and 8"),
            ({"scales": (float("nan"),)}, "between 0.1 and 8"),
            ({"scales": ()}, "between"),
            ({"scales": (1.0, 1.0)}, "count double"),
            ({"window": (0, 8)}, "at least one pixel"),
            ({"margin": -1}, "zero or more"),
            ({"merge": "blend"}, "one look has none"),
            ({"average": "probability"}, "one look has none"),
        ],
    )
    def test_values_out_of_range_are_refused(self, how: dict[str, Any], match: str) -> None:
        with pytest.raises(UsageError, match=match):
            Augmentation(**how)

    @pytest.mark.parametrize("how", [{"merge": "glue"}, {"average": "vote"}])
    def test_unknown_names_are_refused(self, how: dict[str, Any]) -> None:
        with pytest.raises(UnknownNameError):
            Augmentation(**how)

    @pytest.mark.parametrize(
        ("how", "size", "match"),
        [
            ({"window": (60, 60)}, None, "multiples of 8"),
            ({"window": (32, 32), "margin": 16}, None, "leaves nothing"),
            ({"margin": 4}, None, "give --sliding-window too"),
            ({"window": (32, 32)}, (64, 64), "exported for windows of 64x64"),
        ],
    )
    def test_what_the_network_does_not_take_is_refused_and_it_is_closed(
        self, how: dict[str, Any], size: tuple[int, int] | None, match: str
    ) -> None:
        runner = Box(ModelSpec("box", ("image",), size=size, stride=8))
        with pytest.raises(UsageError, match=match):
            augmented(runner, Augmentation(**how))
        assert runner._closed

    @pytest.mark.parametrize("word", ["", "x", "512x", "512x512x512", "-512", "1e3", "large"])
    def test_a_window_is_written_as_pixels(self, word: str) -> None:
        with pytest.raises(UsageError, match="--sliding-window"):
            parse_augmentation(1, None, word, None, "crop", "logits")

    def test_words_of_the_command_line_are_read(self) -> None:
        got = parse_augmentation(8, "0.75,1,1.25", "256x512", 32, "blend", "probability")
        assert got == Augmentation(8, (0.75, 1.0, 1.25), (256, 512), 32, "blend", "probability")
        with pytest.raises(UsageError, match="list of factors"):
            parse_augmentation(1, "1;2", None, None, "crop", "logits")

    def test_nan_is_no_probability(self) -> None:
        with pytest.raises(NonFiniteError):
            asked(Box(bias=float("nan")), picture(), tta=2)

    def test_a_scale_that_makes_an_image_larger_than_any_is_refused_before_it_is_made(self) -> None:
        with pytest.raises(DataError, match="4096 x 4096 pixels would grow to 32768 x 32768 by --scales 8"):
            asked(Box(), {"image": np.broadcast_to(np.uint8(0), (1, 4096, 4096, 3))}, scales=(0.5, 8.0))

    def test_feeds_off_the_stride_are_refused(self) -> None:
        with pytest.raises(SpecMismatchError, match="multiples of 8"):
            asked(Box(), picture(60, 64), tta=2)
