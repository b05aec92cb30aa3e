#!/usr/bin/env python3
"""One training step of SPD in eager PyTorch on the CPU, for comparison with experiments/benchmark.lua.

    spd_step_torch.py [--cases tms_5-2,resid_mlp1] [--steps 20] [--threads 2]

Seven toy cases with random targets and the paper's sizes. A step makes its data, runs the target, evaluates
a gate MLP per subcomponent, one stochastic reconstruction of the whole model and one per matrix,
faithfulness and importance minimality, goes backward through their sum and updates with AdamW. Prints one
JSON line per case: case, ms_per_step, peak_mb (of a process of its own), steps, threads, torch.
"""

import math
from dataclasses import dataclass

import timing
import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class Case:
    features: int
    width: int  # TMS: of the hidden layer; residual MLP: of the residual stream
    layers: int  # TMS: hidden identity layers; residual MLP: blocks
    neurons: int  # of a block; 0 for TMS
    components: int  # C, per matrix
    gate_width: int  # n, of the gate MLP
    batch: int
    probability: float  # that a feature is active
    learning_rate: float
    importance_coefficient: float
    importance_exponent: float


CASES = {
    "tms_5-2": Case(5, 2, 0, 0, 20, 16, 4096, 0.05, 1e-3, 3e-3, 1.0),
    "tms_5-2-id": Case(5, 2, 1, 0, 20, 16, 4096, 0.05, 1e-3, 3e-3, 1.0),
    "tms_40-10": Case(40, 10, 0, 0, 200, 16, 4096, 0.05, 1e-3, 1e-4, 2.0),
    "tms_40-10-id": Case(40, 10, 1, 0, 200, 16, 4096, 0.05, 1e-3, 1e-4, 2.0),
    "resid_mlp1": Case(100, 1000, 1, 50, 100, 16, 2048, 0.01, 2e-3, 1e-5, 2.0),
    "resid_mlp2": Case(100, 1000, 2, 25, 400, 16, 2048, 0.01, 1e-3, 1e-5, 2.0),
    "resid_mlp3": Case(102, 1000, 3, 17, 500, 128, 2048, 0.01, 1e-3, 0.5e-5, 2.0),
}


class ToyModel:
    """The target of TMS: linear layers in a row, the last one the first one transposed, and a ReLU."""

    lowest_value = 0.0

    def __init__(self, case):
        embedding = torch.randn(case.width, case.features) / math.sqrt(case.width)
        self.weights = {"linear1": embedding}
        for layer in range(case.layers):
            self.weights[f"hidden_layers.{layer}"] = torch.eye(case.width)
        self.weights["linear2"] = embedding.T.clone()
        self.bias = torch.zeros(case.features)

    def run(self, x, apply):
        for name in self.weights:
            x = apply(name, x)
        return functional.relu(x + self.bias)


class ResidualMLP:
    """Blocks of mlp_in, ReLU and mlp_out on a residual stream, between fixed random embeddings."""

    lowest_value = -1.0

    def __init__(self, case):
        self.embedding = functional.normalize(torch.randn(case.features, case.width), dim=1)
        self.blocks = case.layers
        self.weights = {}
        for block in range(case.layers):
            self.weights[f"layers.{block}.mlp_in"] = torch.randn(case.neurons, case.width) * 5 / math.sqrt(case.width)
            self.weights[f"layers.{block}.mlp_out"] = torch.randn(case.width, case.neurons) / math.sqrt(case.neurons)

    def run(self, x, apply):
        stream = x @ self.embedding
        for block in range(self.blocks):
            hidden = functional.relu(apply(f"layers.{block}.mlp_in", stream))
            stream = stream + apply(f"layers.{block}.mlp_out", hidden)
        return stream @ self.embedding.T


class Components(nn.Module):
    """Subcomponents of one weight [d_out, d_in], and the gate MLP of each."""

    def __init__(self, weight, count, gate_width):
        super().__init__()
        d_out, d_in = weight.shape
        v = functional.normalize(torch.randn(d_in, count), dim=0)
        u = functional.normalize(torch.randn(count, d_out), dim=1)
        overlap = ((v.T @ weight.T) * u).sum(dim=1, keepdim=True)
        self.v, self.u = nn.Parameter(v), nn.Parameter(u * overlap)
        self.w1 = nn.Parameter(torch.randn(count, gate_width) * math.sqrt(2))
        self.b1 = nn.Parameter(torch.zeros(count, gate_width))
        self.w2 = nn.Parameter(torch.randn(count, gate_width) / math.sqrt(gate_width))
        self.b2 = nn.Parameter(torch.zeros(count))

    def importance(self, inner):
        """Pre-sigmoid importances [B, C] of inner activations [B, C]."""
        hidden = functional.gelu(torch.einsum("bc,cn->bcn", inner, self.w1) + self.b1)
        return torch.einsum("bcn,cn->bc", hidden, self.w2) + self.b2

    def forward(self, x, mask):
        return ((x @ self.v) * mask) @ self.u


def lower_leaky(x):
    return torch.where(x > 0, x.clamp(max=1), 0.01 * x)


def upper_leaky(x):
    return torch.where(x > 1, 1 + 0.01 * (x - 1), x.clamp(min=0))


def sparse_features(case, lowest):
    shape = (case.batch, case.features)
    values = lowest + (1 - lowest) * torch.rand(shape)
    return values * (torch.rand(shape) < case.probability)


def stochastic_masks(lower):
    return {name: g + (1 - g) * torch.rand_like(g) for name, g in lower.items()}


def total_loss(case, target, components, x):
    inputs = {}

    def original(name, a):
        inputs[name] = a
        return functional.linear(a, target.weights[name])

    def replacing(masks, which):
        def apply(name, a):
            if name in which:
                return components[name](a, masks[name])
            return functional.linear(a, target.weights[name])

        return functional.mse_loss(target.run(x, apply), wanted)

    with torch.no_grad():
        wanted = target.run(x, original)
    importances = {name: part.importance(inputs[name] @ part.v) for name, part in components.items()}
    lower = {name: lower_leaky(value) for name, value in importances.items()}

    decomposed = sum(weight.numel() for weight in target.weights.values())
    squares = [((part.v @ part.u).T - target.weights[name]).square().sum() for name, part in components.items()]
    faithfulness = sum(squares) / decomposed
    reconstruction = replacing(stochastic_masks(lower), components.keys())
    masks = stochastic_masks(lower)
    layerwise = sum(replacing(masks, {name}) for name in components) / len(components)
    minimality = sum(
        (upper_leaky(value) ** case.importance_exponent).sum(dim=-1).mean() for value in importances.values()
    )
    return faithfulness + reconstruction + layerwise + case.importance_coefficient * minimality


def training_step(name):
    """A function that trains the case by a step."""
    case = CASES[name]
    target = ResidualMLP(case) if case.neurons else ToyModel(case)
    components = {
        matrix: Components(weight, case.components, case.gate_width) for matrix, weight in target.weights.items()
    }
    parameters = [p for part in components.values() for p in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=case.learning_rate, weight_decay=0)

    def step():
        optimizer.zero_grad()
        total_loss(case, target, components, sparse_features(case, target.lowest_value)).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    timing.main(__file__, "One training step of SPD in eager PyTorch, timed on the CPU.", CASES, training_step, 20, 3)
