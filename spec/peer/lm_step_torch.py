#!/usr/bin/env python3
"""One training step of SPD on a language model in eager PyTorch on the CPU, beside experiments/benchmark.lua.

    lm_step_torch.py [--cases lm_embed,lm_mlp] [--steps 3] [--threads 2]

A Llama of transformers, of the shape of SimpleStories-1.25M with random weights, on random tokens. lm_embed decomposes
the embedding, lm_mlp all matrices of the MLPs. A step runs the target, evaluates a linear gate per subcomponent, one
stochastic reconstruction per matrix with only that matrix replaced, faithfulness and importance minimality, goes
backward through their sum once, and updates with AdamW. Prints one JSON line per case, as spd_step_torch.py does.
"""

import fnmatch

import timing
import torch
import transformers
from spd_step_torch import lower_leaky, stochastic_masks, upper_leaky
from torch import nn
from torch.nn import functional

CASES = {"lm_embed": "model.embed_tokens", "lm_mlp": "model.layers.*.mlp.*_proj"}
BATCH, LENGTH, COMPONENTS = 4, 512, 100
IMPORTANCE_COEFFICIENT, IMPORTANCE_EXPONENT, LEARNING_RATE = 1e-6, 2, 1e-3
STORIES = {
    "vocab_size": 4096,
    "hidden_size": 128,
    "intermediate_size": 341,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
    "use_cache": False,
}


class Subcomponents(nn.Module):
    """Takes the place of a layer while its mask is set."""

    def __init__(self, layer):
        super().__init__()
        self.is_embedding = isinstance(layer, nn.Embedding)
        self.target = (layer.weight.T if self.is_embedding else layer.weight).detach()
        d_out, d_in = self.target.shape
        v = functional.normalize(torch.randn(d_in, COMPONENTS), dim=0)
        u = functional.normalize(torch.randn(COMPONENTS, d_out), dim=1)
        overlap = ((self.target @ v).T * u).sum(dim=1, keepdim=True)
        self.v, self.u = nn.Parameter(v), nn.Parameter(u * overlap)
        self.w, self.b = nn.Parameter(torch.randn(COMPONENTS)), nn.Parameter(torch.zeros(COMPONENTS))
        self.mask = None

    def inner(self, x):
        return functional.embedding(x, self.v) if self.is_embedding else x @ self.v

    def importance(self, x):
        return self.inner(x) * self.w + self.b

    def squared_error(self):
        return ((self.v @ self.u).T - self.target).square().sum()

    def forward(self, x):
        return (self.inner(x) * self.mask) @ self.u


class Target:
    """A language model and what decomposes some of its layers."""

    def __init__(self, pattern):
        self.model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**STORIES)).eval().requires_grad_(False)
        names = [name for name, _ in self.model.named_modules() if fnmatch.fnmatch(name, pattern)]
        self.layers = {name: self.model.get_submodule(name) for name in names}
        self.parts = {name: Subcomponents(layer) for name, layer in self.layers.items()}

    def logits(self, ids):
        return self.model(ids).logits.flatten(0, 1)

    @torch.no_grad()
    def run(self, ids):
        """The target's logits, and the inputs of its layers by name."""
        inputs = {}
        hooks = [
            layer.register_forward_pre_hook(lambda _, given, name=name: inputs.update({name: given[0]}))
            for name, layer in self.layers.items()
        ]
        logits = self.logits(ids)
        for hook in hooks:
            hook.remove()
        return logits, inputs

    def run_replacing(self, ids, name, mask):
        self.parts[name].mask = mask
        self.model.set_submodule(name, self.parts[name])
        logits = self.logits(ids)
        self.model.set_submodule(name, self.layers[name])
        return logits


def losses(target, ids, make_masks=stochastic_masks):
    """Faithfulness, layerwise reconstruction, importance minimality."""
    wanted, inputs = target.run(ids)
    wanted = functional.log_softmax(wanted, dim=-1)
    importances = {name: target.parts[name].importance(x) for name, x in inputs.items()}
    masks = make_masks({name: lower_leaky(value) for name, value in importances.items()})
    faithfulness = sum(part.squared_error() for part in target.parts.values())
    faithfulness = faithfulness / sum(part.target.numel() for part in target.parts.values())
    distances = [
        functional.kl_div(
            functional.log_softmax(target.run_replacing(ids, name, mask), dim=-1),
            wanted,
            reduction="batchmean",
            log_target=True,
        )
        for name, mask in masks.items()
    ]
    minimality = sum(
        (upper_leaky(value) ** IMPORTANCE_EXPONENT).sum(dim=-1).mean() for value in importances.values()
    )
    return faithfulness, sum(distances) / len(distances), minimality


def training_step(name):
    """A function that trains the case by a step."""
    target = Target(CASES[name])
    parameters = [p for part in target.parts.values() for p in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0)

    def step():
        optimizer.zero_grad()
        faithfulness, layerwise, minimality = losses(target, torch.randint(STORIES["vocab_size"], (BATCH, LENGTH)))
        (faithfulness + layerwise + IMPORTANCE_COEFFICIENT * minimality).backward(retain_graph=True)
        optimizer.step()

    return step


if __name__ == "__main__":
    description = "One training step of SPD on a language model in eager PyTorch, timed on the CPU."
    timing.main(__file__, description, CASES, training_step, 3, 1)
