"""`QuantizedNet`: any network of MODELS with fake quantization where `placement.place` puts it.

The folded network is traced with torch.fx, described as the steps that `place` reads, and rebuilt with fake-quantized
weights and points. It keeps the contract of `RoadNet`, so that training, validation, checkpoints and export treat it
like any other network, and torch's exporter writes its points as QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

import copy
import dataclasses
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from roadedge.errors import UsageError
from roadedge.models.blocks import Normalise, RoadNet, Whole
from roadedge.models.fake_quant import Observer, QuantConv2d, QuantConvTranspose2d, QuantPoint, Scale
from roadedge.models.placement import FlowStep, place, weight_of
from roadedge.spec import ModelSpec

MOVES = (operator.getitem, torch.permute, torch.flatten, torch.index_select, torch.reshape)
MOVING_METHODS = ("permute", "flatten", "index_select", "reshape", "view", "contiguous", "transpose")
PRODUCTS = (operator.matmul, torch.matmul, torch.bmm, torch.einsum)
PRODUCT_METHODS = ("matmul", "bmm")
BOUNDED = (torch.softmax, torch.sigmoid, torch.tanh, nn.functional.softmax)
BOUNDED_METHODS = ("softmax", "sigmoid", "tanh")
BOUNDED_MODULES = (nn.Softmax, nn.Sigmoid, nn.Hardsigmoid, nn.Tanh)
DIVISIONS = (operator.truediv, torch.div, "div")
MOVING_MODULES = (nn.MaxPool2d, nn.PixelShuffle, nn.Flatten)


@dataclass(frozen=True, slots=True)
class Quantization:
    """What a quantized network is besides its weights: enough to build it again."""

    keep_float: tuple[str, ...] = ()
    borders_float: bool = True
    learned: bool = False
    products_float: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Quantization:
        """From JSON values; a network of before there was the rule of products was quantized without it."""
        products = values.get("products_float", False)
        return cls(tuple(values["keep_float"]), values["borders_float"], values["learned"], products)


class QuantizedNet(RoadNet):
    """A folded network with fake-quantized weights and values.

    `quantization` and `structure()` build it again;
    `placement` says what is quantized under the names of the folded network's modules.
    """

    def __init__(self, network: RoadNet, quantization: Quantization) -> None:
        """Quantize a copy of `network`, which must not be quantized yet. The scales of values are not set.

        Raises:
            UsageError: it is quantized already.
            UnknownNameError: `keep_float` names no convolution.
        """
        super().__init__(network.spec)
        if isinstance(network, QuantizedNet):
            raise UsageError(f"{network.spec.name} is quantized already; start from its float checkpoint")
        self.quantization = quantization
        self._structure = {key: value.clone() for key, value in network.structure().items()}
        folded = network.folded()
        graph = _without_identities(folded, _Tracer().trace(folded))
        steps, nodes = _flow(folded, graph)
        fed, returned = _ends(graph)
        kept = quantization.keep_float, quantization.borders_float, quantization.products_float
        self.placement = place(steps, fed, returned, *kept)
        self.body = fx.GraphModule(folded, graph)
        self._quantize_weights()
        self._insert_points(nodes)

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Feeds → {"logits": (N, 1, H, W)}."""
        out: dict[str, Tensor] = self.body(feeds)
        return out

    def structure(self) -> dict[str, Tensor]:
        """That of the float network, under its names."""
        return self._structure

    def points(self) -> dict[int, QuantPoint]:
        """The scales of values, by the number of their group."""
        found = {}
        for number in sorted({point.group for point in self.placement.points}):
            module = self.body.get_submodule(_scale_name(number))
            assert isinstance(module, QuantPoint)
            found[number] = module
        return found

    def observe(self, observers: dict[int, Observer] | None) -> None:
        """Let each group's observer look at its values instead of quantizing them; None ends it."""
        for number, module in self.points().items():
            module.observer = None if observers is None else observers[number]

    def settle(self) -> None:
        """Bring scales up to date after weights were averaged: those of weights follow, learned ones are rounded."""
        for module in self.body.modules():
            if isinstance(module, QuantConv2d | QuantConvTranspose2d) and not module.quantized.learned:
                module.quantized.follow(module.weight)
            elif isinstance(module, Scale) and module.learned:
                module.settle()

    def scales(self) -> tuple[dict[str, float], dict[str, NDArray[np.float32]]]:
        """({reader: scale of what it reads}, {convolution: scales of its weight}), readers as in `Placement.reads`."""
        modules = self.points()
        values = {reader: float(modules[group].deployed()[0]) for reader, group in self.placement.reads.items()}
        weights = {}
        for name in self.placement.convolutions:
            conv = self.body.get_submodule(weight_of(name))
            assert isinstance(conv, QuantConv2d | QuantConvTranspose2d)
            weights[name] = conv.quantized.deployed().numpy().copy()
        return values, weights

    def unquantized(self) -> RoadNet:
        """The float network of the same weights: what a graph is written from before the pairs are put in."""
        network = copy.deepcopy(self).eval()
        for node in list(network.body.graph.nodes):
            if node.op == "call_module" and isinstance(network.body.get_submodule(node.target), QuantPoint):
                node.replace_all_uses_with(node.args[0])
                network.body.graph.erase_node(node)
        for name in {weight_of(name) for name in self.placement.convolutions}:
            conv = network.body.get_submodule(name)
            assert isinstance(conv, QuantConv2d | QuantConvTranspose2d)
            network.body.add_submodule(name, conv.plain())
        network.body.recompile()
        return _Plain(network.spec, network.body)

    def deployed(self) -> RoadNet:
        """A copy in eval mode with settled scales."""
        network = copy.deepcopy(self).eval()
        network.settle()
        return network

    def _quantize_weights(self) -> None:
        learned = self.quantization.learned
        for name in {weight_of(name) for name in self.placement.convolutions}:
            conv = self.body.get_submodule(name)
            assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
            quantized = (
                QuantConv2d(conv, learned) if isinstance(conv, nn.Conv2d) else QuantConvTranspose2d(conv, learned)
            )
            self.body.add_submodule(name, quantized)

    def _insert_points(self, nodes: dict[str, fx.Node]) -> None:
        for number in {point.group for point in self.placement.points}:
            self.body.add_submodule(_scale_name(number), QuantPoint(self.quantization.learned))
        for point in self.placement.points:
            source = nodes[point.value]
            with self.body.graph.inserting_after(source):
                quantized = self.body.graph.call_module(_scale_name(point.group), (source,))
            for reader in point.readers:
                nodes[reader].replace_input_with(source, quantized)
        self.body.graph.lint()
        self.body.recompile()


class _Plain(RoadNet):
    """A traced network without quantization."""

    def __init__(self, spec: ModelSpec, body: fx.GraphModule) -> None:
        super().__init__(spec)
        self.body = body

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Feeds → {"logits": (N, 1, H, W)}."""
        out: dict[str, Tensor] = self.body(feeds)
        return out


def _scale_name(group: int) -> str:
    return f"scales.g{group}"


class _Tracer(fx.Tracer):
    """Keeps whole what depends on sizes, and the normalisation, which must be told from a network that is halved."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Torch's own modules and those."""
        return isinstance(m, Normalise | Whole) or super().is_leaf_module(m, module_qualified_name)


def _without_identities(network: nn.Module, graph: fx.Graph) -> fx.Graph:
    """Take out what a folded batch-norm left behind, so that a convolution stands right before its add."""
    for node in list(graph.nodes):
        if node.op == "call_module" and isinstance(network.get_submodule(str(node.target)), nn.Identity):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    return graph


def _flow(network: nn.Module, graph: fx.Graph) -> tuple[list[FlowStep], dict[str, fx.Node]]:
    """The graph's steps, and the node behind the name of each step and each value."""
    steps: list[FlowStep] = []
    nodes: dict[str, fx.Node] = {}
    seen: dict[str, int] = {}
    for node in graph.nodes:
        nodes[node.name] = node
        if node.op in ("placeholder", "output", "get_attr"):
            continue
        kind = _kind(network, node)
        name = node.name
        if kind in ("conv", "deconv"):
            seen[node.target] = seen.get(node.target, 0) + 1
            name = node.target if seen[node.target] == 1 else f"{node.target}#{seen[node.target]}"
            nodes[name] = node
        values = tuple(one.name for one in node.all_input_nodes if one.op != "get_attr")
        steps.append(FlowStep(name, kind, values, node.name))
    return steps, nodes


def _kind(network: nn.Module, node: fx.Node) -> str:
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        if isinstance(module, nn.Conv2d):
            return "conv"
        if isinstance(module, nn.ConvTranspose2d):
            return "deconv"
        if isinstance(module, BOUNDED_MODULES):
            return "bounded"
        return "pass" if isinstance(module, MOVING_MODULES) else "other"
    if node.target in (*PRODUCTS, *PRODUCT_METHODS) and _computed(node) > 1:
        return "product"
    if node.target in (*BOUNDED, *BOUNDED_METHODS) or (node.target in DIVISIONS and _computed(node) > 1):
        return "bounded"
    if node.op == "call_method":
        return "pass" if node.target in MOVING_METHODS else "other"
    adds: tuple[Callable[..., Any], ...] = (operator.add, torch.add, operator.iadd)
    if node.target in adds:
        return "add" if len(node.all_input_nodes) == 2 else "other"
    if node.target in (torch.cat, torch.concat):
        return "concat"
    return "pass" if node.target in MOVES else "other"


def _computed(node: fx.Node) -> int:
    """How many of the values that a node reads are no stored ones."""
    return sum(one.op != "get_attr" for one in node.all_input_nodes)


def _ends(graph: fx.Graph) -> tuple[set[str], set[str]]:
    """Names of the values that are fed and of those that are returned."""
    fed = {node.name for node in graph.nodes if node.op == "placeholder"}
    returned = {one.name for node in graph.nodes if node.op == "output" for one in node.all_input_nodes}
    return fed, returned
