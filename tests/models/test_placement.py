from __future__ import annotations

import numpy as np
import pytest

from roadedge.errors import UnknownNameError
from roadedge.models.placement import FlowStep, Placement, groups, place, scale_of, snapped


def step(name: str, kind: str, inputs: str, output: str) -> FlowStep:
    return FlowStep(name, kind, tuple(inputs.split()), output)


def placed(*steps: FlowStep, keep_float: tuple[str, ...] = (), borders_float: bool = False) -> Placement:
    return place(steps, ["in"], [steps[-1].output], keep_float, borders_float)


def readers(placement: Placement) -> dict[str, tuple[str, ...]]:
    return {point.value: point.readers for point in placement.points}


RESIDUAL = (
    step("a", "conv", "in", "a"),
    step("relu", "other", "a", "ra"),
    step("b", "conv", "ra", "b"),
    step("c", "conv", "b", "c"),
    step("sum", "add", "ra c", "sum"),
    step("end", "conv", "sum", "end"),
)


def test_the_shortcut_of_an_add_is_quantised_and_the_convolution_runs_into_it() -> None:
    placement = placed(*RESIDUAL)
    assert readers(placement) == {"in": ("a",), "ra": ("b", "sum"), "b": ("c",), "sum": ("end",)}
    assert placement.shortcuts == (("sum", "c"),)


def test_of_two_convolutions_that_are_added_the_deeper_one_is_fused() -> None:
    placement = placed(
        step("a", "conv", "in", "a"),
        step("main1", "conv", "a", "m1"),
        step("main2", "conv", "m1", "m2"),
        step("project", "conv", "a", "p"),
        step("sum", "add", "p m2", "sum"),
        step("end", "conv", "sum", "end"),
    )
    assert readers(placement)["p"] == ("sum",)
    assert "m2" not in readers(placement)


def test_a_convolution_that_somebody_else_reads_too_cannot_be_fused() -> None:
    placement = placed(
        step("a", "conv", "in", "a"),
        step("b", "conv", "a", "b"),
        step("sum", "add", "in b", "sum"),
        step("c", "conv", "b", "c"),
        step("join", "concat", "sum c", "out"),
    )
    assert placement.shortcuts == ()
    assert readers(placement) == {"in": ("a",), "a": ("b",), "b": ("c",)}


def test_first_and_last_convolutions_stay_float_by_default() -> None:
    placement = placed(*RESIDUAL, borders_float=True)
    assert placement.float_convolutions == ("a", "end")
    assert readers(placement) == {"ra": ("b", "sum"), "b": ("c",)}


def test_what_is_concatenated_shares_one_scale() -> None:
    placement = placed(
        step("a", "conv", "in", "a"),
        step("b", "conv", "a", "b"),
        step("slice", "pass", "b", "part"),
        step("join", "concat", "a part", "joined"),
        step("c", "conv", "joined", "c"),
        step("d", "conv", "b", "d"),
        step("e", "conv", "d", "e"),
    )
    shared = [{point.value for point in points} for points in groups(placement.points).values()]
    assert {"a", "b"} in shared
    assert {"d"} in shared
    assert placement.reads["c"] == placement.reads["d"] == placement.reads["b"]


def test_what_is_concatenated_is_quantised_where_it_is_made() -> None:
    placement = placed(
        step("a", "conv", "in", "a"),
        step("b", "conv", "a", "b"),
        step("slice", "pass", "b", "part"),
        step("join", "concat", "a part", "joined"),
        step("c", "conv", "joined", "c"),
    )
    assert readers(placement) == {"in": ("a",), "a": ("b", "join"), "b": ("slice",)}


def test_what_somebody_reads_as_float_is_quantised_behind_the_concatenation() -> None:
    placement = placed(
        step("a", "conv", "in", "a"),
        step("b", "conv", "a", "b"),
        step("join", "concat", "a b", "joined"),
        step("c", "conv", "joined", "c"),
        step("sigmoid", "other", "joined", "s"),
        step("both", "concat", "c s", "out"),
    )
    assert readers(placement) == {"in": ("a",), "a": ("b",), "joined": ("c",)}


def test_a_weight_that_is_read_twice_is_kept_float_everywhere() -> None:
    steps = (step("a", "conv", "in", "x"), step("a#2", "conv", "x", "y"), step("b", "conv", "y", "z"))
    assert placed(*steps, keep_float=("a",)).float_convolutions == ("a", "a#2")
    assert placed(*steps, keep_float=("a#2",)).float_convolutions == ("a#2",)
    assert placed(*steps, borders_float=True).float_convolutions == ("a", "a#2", "b")


def test_an_unknown_convolution_is_refused_with_a_hint() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'main'"):
        placed(step("main", "conv", "in", "x"), keep_float=("mian",))


def test_scales_are_numbers_of_float16() -> None:
    scales = scale_of(np.array([1.0, 3.3, 1e-9, 0.0]))
    assert np.array_equal(scales.astype(np.float16).astype(np.float32), scales)
    assert scales[0] == pytest.approx(1 / 127, rel=1e-3)
    assert (scales >= 2.0**-14).all()
    assert np.array_equal(snapped(scales), scales)


def behind_products(*steps: FlowStep) -> tuple[str, ...]:
    first = step("a", "conv", "in", "a")
    return placed(first, *steps, step("end", "conv", "last", "end")).behind_products


def test_what_reads_sums_of_products_of_two_maps_stays_float() -> None:
    steps = (
        step("a", "conv", "in", "a"),
        step("sums", "product", "a a", "sums"),
        step("turned", "pass", "sums", "turned"),
        step("b", "conv", "turned", "b"),
        step("added", "add", "sums b", "added"),
        step("relu", "other", "added", "relu"),
        step("c", "conv", "relu", "c"),
        step("d", "conv", "c", "d"),
    )
    placement = placed(*steps)
    assert placement.behind_products == placement.float_convolutions == ("b", "c")
    assert readers(placement) == {"in": ("a",), "c": ("d",)}  # nor is the sum a shortcut
    everything = place(steps, ["in"], ["d"], (), False, products_float=False)
    assert everything.convolutions == ("a", "b", "c", "d")
    assert everything.behind_products == everything.float_convolutions == ()


def test_products_that_something_bounds_are_quantised_behind() -> None:
    weights = (step("scores", "product", "a a", "scores"), step("weights", "bounded", "scores", "weights"))
    moved = step("moved", "pass", "weights", "moved")
    assert behind_products(*weights, moved, step("mean", "product", "a moved", "last")) == ()
    assert behind_products(*weights, step("gated", "other", "a weights", "last")) == ()
    assert behind_products(*weights, step("kept", "other", "a scores", "last")) == ("end",)
