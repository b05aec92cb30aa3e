#!/usr/bin/env python3
"""Makes spec/fixtures/language: tiny random language models by `transformers`, with what they compute by PyTorch.

    make_language_models.py [--out spec/fixtures/language] [--spdlua ./spdlua]

Needs torch, transformers and safetensors from the Python registry; run it from the top of the checkout. Every case is a
folder that save_pretrained wrote, some edited to an older or rarer layout (transformers must read it again with the
same logits), and expected.safetensors: token ids, logits, and for some an SPD step on decomposed matrices (parameters,
mask draws, losses and gradients, in double precision). Then every folder is loaded and saved by spdlua, and
transformers must find the same logits in what it saved.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

BATCH, LENGTH, COMPONENTS = 2, 24, 6
COEFFICIENTS = {
    "faithfulness": 1.0,
    "stochastic_recon": 1.0,
    "stochastic_recon_layerwise": 2.0,
    "importance_minimality": 0.1,
}
EXPONENT = 2.0
TOLERANCE = 1e-5  # of transformers reading a folder again, relative to the largest logit

SMALL_LLAMA = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
}
LLAMA = {**SMALL_LLAMA, "vocab_size": 80, "hidden_size": 24, "intermediate_size": 32}
GPT2 = {"vocab_size": 80, "n_positions": 32, "n_embd": 24, "n_layer": 2, "n_head": 4}
GPT_NEO = {
    "vocab_size": 80,
    "max_position_embeddings": 32,
    "hidden_size": 24,
    "num_layers": 2,
    "num_heads": 4,
    "window_size": 5,
    "attention_types": [[["global", "local"], 1]],
}


@dataclass
class Case:
    seed: int
    config: object
    dtype: torch.dtype = torch.float32
    edit: object = None  # function of the folder
    shard: str = None  # largest size of a shard
    decomposed: list = field(default_factory=list)  # names of the matrices of an SPD step


def old_rope(**scaling):
    """Replace v5's rope_parameters by rope_theta and rope_scaling, as older versions wrote them."""

    def edit(folder):
        config = read_config(folder)
        del config["rope_parameters"]
        write_config(folder, {**config, "rope_theta": 10000.0, "rope_scaling": scaling})

    return edit


def without_prefix(folder):
    """The names of the original GPT-2 files, with the buffers that they hold."""
    path = os.path.join(folder, "model.safetensors")
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(path).items()}
    for layer in range(2):
        tensors[f"h.{layer}.attn.bias"] = torch.tril(torch.ones(1, 1, 4, 4))
        tensors[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(tensors, path, {"format": "pt"})


def with_lm_head(folder):
    """A tied weight that is stored all the same."""
    path = os.path.join(folder, "model.safetensors")
    tensors = load_file(path)
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"].clone()
    save_file(tensors, path, {"format": "pt"})


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def cases():
    llama, gpt2, gpt_neo = transformers.LlamaConfig, transformers.GPT2Config, transformers.GPTNeoConfig
    block = "transformer.h.%d."
    return {
        "llama": Case(
            1,
            llama(**LLAMA, attention_bias=True, mlp_bias=True),
            decomposed=[
                "model.embed_tokens",
                "model.layers.0.self_attn.q_proj",
                "model.layers.0.mlp.gate_proj",
                "model.layers.1.self_attn.k_proj",
                "model.layers.1.self_attn.o_proj",
                "model.layers.1.mlp.down_proj",
                "lm_head",
            ],
        ),
        "llama_tied": Case(2, llama(**SMALL_LLAMA, tie_word_embeddings=True, head_dim=6, hidden_act="gelu")),
        "llama_llama3": Case(
            3,
            llama(**SMALL_LLAMA, head_dim=8, rope_parameters={**LLAMA3, "rope_theta": 10000.0}),
            edit=old_rope(**LLAMA3),
        ),
        "llama_linear": Case(
            4,
            llama(**SMALL_LLAMA, rope_parameters={"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0}),
        ),
        "llama_linear_old": Case(
            5,
            llama(**SMALL_LLAMA, rope_parameters={"rope_type": "linear", "factor": 2.5, "rope_theta": 10000.0}),
            edit=old_rope(type="linear", factor=2.5),
        ),
        "llama_sharded": Case(6, llama(**SMALL_LLAMA), shard="10KB"),
        "llama_f16": Case(7, llama(**SMALL_LLAMA), dtype=torch.float16),
        "llama_bf16": Case(8, llama(**SMALL_LLAMA), dtype=torch.bfloat16),
        "gpt2": Case(
            9,
            gpt2(**GPT2),
            edit=with_lm_head,
            decomposed=[
                "transformer.wte",
                "transformer.wpe",
                block % 0 + "attn.c_attn",
                block % 0 + "mlp.c_fc",
                block % 1 + "attn.c_proj",
                block % 1 + "mlp.c_proj",
            ],
        ),
        "gpt2_plain": Case(
            10,
            gpt2(
                vocab_size=64,
                n_positions=32,
                n_embd=16,
                n_layer=2,
                n_head=2,
                n_inner=20,
                activation_function="relu",
                scale_attn_by_inverse_layer_idx=True,
                layer_norm_epsilon=1e-3,
            ),
            edit=without_prefix,
        ),
        "gpt_neo": Case(
            11,
            gpt_neo(**GPT_NEO),
            decomposed=[
                "transformer.wte",
                block % 0 + "attn.attention.q_proj",
                block % 1 + "attn.attention.k_proj",
                block % 1 + "attn.attention.out_proj",
                block % 0 + "mlp.c_fc",
                block % 1 + "mlp.c_proj",
            ],
        ),
        "gpt_neo_untied": Case(
            12,
            gpt_neo(
                **{
                    **GPT_NEO,
                    "vocab_size": 64,
                    "hidden_size": 16,
                    "num_layers": 3,
                    "intermediate_size": 20,
                    "attention_types": [[["local"], 2], [["global"], 1]],
                    "window_size": 3,
                    "tie_word_embeddings": False,
                }
            ),
        ),
    }


# ---- models -----------------------------------------------------------------------------------------


def read_config(folder):
    with open(os.path.join(folder, "config.json")) as file:
        return json.load(file)


def write_config(folder, config):
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file, indent=2)
        file.write("\n")


def randomize(model, generator):
    """Weights under which attention, norms and biases all matter."""
    for name, parameter in model.named_parameters():
        numbers = torch.randn(parameter.shape, generator=generator)
        if name.endswith("bias"):
            numbers = 0.2 * numbers
        elif numbers.dim() == 1:
            numbers = 1 + 0.2 * numbers
        elif "wte" not in name and "wpe" not in name and "embed" not in name:
            is_conv1d = type(model.get_submodule(name.removesuffix(".weight"))).__name__ == "Conv1D"
            numbers = 1.3 * numbers / numbers.shape[0 if is_conv1d else 1] ** 0.5
        parameter.data.copy_(numbers)


def load(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


@torch.no_grad()
def logits_of(folder, ids):
    return load(folder)(ids).logits


def require_equal(found, expected, what):
    error = ((found - expected).abs().max() / expected.abs().max()).item()
    print(f"{what}: {error:.1e}", flush=True)
    if not error <= TOLERANCE:
        sys.exit(f"make_language_models: {what}: error {error:.1e}")


# ---- an SPD step --------------------------------------------------------------------------------------


def lower_leaky(x):
    return torch.where(x > 0, x.clamp(max=1), 0.01 * x)


def upper_leaky(x):
    return torch.where(x > 1, 1 + 0.01 * (x - 1), x.clamp(min=0))


class Matrix(nn.Module):
    """A layer of the model; replaced by its subcomponents while it has a mask."""

    def __init__(self, original, generator):
        super().__init__()
        self.original, self.mask, self.input = original, None, None
        self.is_embedding = isinstance(original, nn.Embedding)
        is_stored_in_by_out = self.is_embedding or type(original).__name__ == "Conv1D"
        self.weight_in_by_out = original.weight.data if is_stored_in_by_out else original.weight.data.T
        d_in, d_out = self.weight_in_by_out.shape

        def parameter(*shape, scale=1.0, shift=0.0):
            numbers = torch.randn(*shape, generator=generator) * scale + shift
            return nn.Parameter(numbers.float().double())

        self.V = parameter(d_in, COMPONENTS, scale=1.0 if self.is_embedding else d_in**-0.5)
        self.U = parameter(COMPONENTS, d_out, scale=0.7)
        self.w, self.b = parameter(COMPONENTS), parameter(COMPONENTS, scale=0.7, shift=0.5)

    def inner(self, x):
        return self.V[x] if self.is_embedding else x @ self.V

    def forward(self, x):
        if self.is_embedding:
            x = x.expand(BATCH, LENGTH)  # positions come once for all rows
        self.input = x
        if self.mask is None:
            return self.original(x)
        y = (self.inner(x) * self.mask) @ self.U
        bias = getattr(self.original, "bias", None)
        return y if bias is None else y + bias


def divergence(target, logits):
    p, q = functional.log_softmax(target, -1), functional.log_softmax(logits, -1)
    return (p.exp() * (p - q)).sum(-1).mean()


def replace(model, names, generator):
    matrices = {}
    for name in names:
        parent, _, own = name.rpartition(".")
        matrices[name] = Matrix(model.get_submodule(name), generator)
        setattr(model.get_submodule(parent), own, matrices[name])
    return matrices


def run(model, matrices, ids, masks):
    for name, matrix in matrices.items():
        matrix.mask = masks.get(name)
    logits = model(ids).logits
    for matrix in matrices.values():
        matrix.mask = None
    return logits


def add_gradients(found, matrices, prefix):
    for name, matrix in matrices.items():
        for key in ("V", "U", "w", "b"):
            parameter = getattr(matrix, key)
            if parameter.grad is not None:
                found[f"{prefix}{key}.{name}"] = parameter.grad.clone()
                parameter.grad = None


def spd_step(folder, names, ids, generator):
    """name -> tensor: the parameters, draws, losses and gradients of one step."""
    model = load(folder).double().requires_grad_(False)
    matrices = replace(model, names, generator)
    found = {}
    for name, matrix in matrices.items():
        for key in ("V", "U", "w", "b"):
            found[f"{key}.{name}"] = getattr(matrix, key).data
        for key in ("r_stoch", "r_layer"):
            found[f"{key}.{name}"] = torch.rand(BATCH, LENGTH, COMPONENTS, generator=generator).double()
    target = run(model, matrices, ids, {})
    gates = {name: matrix.inner(matrix.input) * matrix.w + matrix.b for name, matrix in matrices.items()}

    def masks(key):
        lower = {name: lower_leaky(gate) for name, gate in gates.items()}
        return {name: g + (1 - g) * found[f"{key}.{name}"] for name, g in lower.items()}

    sizes = sum(matrix.weight_in_by_out.numel() for matrix in matrices.values())
    distances = [((m.V @ m.U - m.weight_in_by_out) ** 2).sum() for m in matrices.values()]
    alone = [divergence(target, run(model, matrices, ids, {name: mask})) for name, mask in masks("r_layer").items()]
    minimality = [(upper_leaky(gate) ** EXPONENT).sum(-1).mean() for gate in gates.values()]
    losses = {
        "faithfulness": sum(distances) / sizes,
        "stochastic_recon": divergence(target, run(model, matrices, ids, masks("r_stoch"))),
        "stochastic_recon_layerwise": sum(alone) / len(alone),
        "importance_minimality": sum(minimality),
    }
    sum(COEFFICIENTS[name] * loss for name, loss in losses.items()).backward(retain_graph=True)
    add_gradients(found, matrices, "grad.")
    # the unembed form of embedding_recon, of the embedding alone
    first = names[0]
    embedded = (matrices[first].inner(ids) * masks("r_stoch")[first]) @ matrices[first].U
    head = matrices["lm_head"].original if "lm_head" in matrices else model.lm_head
    losses["embed_unembed_recon"] = divergence(head(matrices[first].original(ids)), head(embedded))
    losses["embed_unembed_recon"].backward()
    add_gradients(found, matrices, "unembed_grad.")
    for name, loss in losses.items():
        found[f"loss.{name}"] = loss.detach().reshape(1)
    return found


# ---- folders --------------------------------------------------------------------------------------------


def make(name, case, out):
    folder = os.path.join(out, name)
    shutil.rmtree(folder, ignore_errors=True)
    generator = torch.Generator().manual_seed(case.seed)
    model = transformers.AutoModelForCausalLM.from_config(case.config)
    randomize(model, generator)
    model.to(case.dtype).save_pretrained(folder, **({"max_shard_size": case.shard} if case.shard else {}))
    os.remove(os.path.join(folder, "generation_config.json"))
    ids = torch.randint(case.config.vocab_size, (BATCH, LENGTH), generator=generator)
    logits = logits_of(folder, ids)
    if case.edit:
        case.edit(folder)
        require_equal(logits_of(folder, ids), logits, f"{name}: transformers reads the edited folder")
    expected = {"ids": ids.int(), "logits": logits}
    metadata = {"torch": torch.__version__, "transformers": transformers.__version__, "seed": case.seed}
    if case.decomposed:
        expected.update(spd_step(folder, case.decomposed, ids, generator))
        metadata.update(C=COMPONENTS, coefficients=COEFFICIENTS, pnorm=EXPONENT, decomposed=case.decomposed)
    expected = {key: tensor.float().contiguous() if key != "ids" else tensor for key, tensor in expected.items()}
    save_file(expected, os.path.join(folder, "expected.safetensors"), {"settings": json.dumps(metadata)})


SAVE = """
local language = require "spd.models.language"
language.save(language.load(arg[1]), arg[2])
"""


def check_saved(name, out, spdlua):
    """What spdlua loads and saves again is the same model to transformers."""
    folder = os.path.join(out, name)
    expected = load_file(os.path.join(folder, "expected.safetensors"))
    with tempfile.TemporaryDirectory() as temporary:
        script, saved = os.path.join(temporary, "save.lua"), os.path.join(temporary, "saved")
        with open(script, "w") as file:
            file.write(SAVE)
        subprocess.run([spdlua, script, folder, saved], check=True)
        require_equal(logits_of(saved, expected["ids"].long()), expected["logits"], f"{name}: as spdlua saves it")


def main():
    parser = argparse.ArgumentParser(description="Tiny language models with what they compute.")
    parser.add_argument("--out", default="spec/fixtures/language")
    parser.add_argument("--spdlua", default="./spdlua")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for name, case in cases().items():
        make(name, case, options.out)
        check_saved(name, options.out, options.spdlua)


if __name__ == "__main__":
    main()
