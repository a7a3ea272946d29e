"""What every family's goldens share: trained-like values, taps, folders."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from hashed import hashed

HERE = Path(__file__).parent
MODELS = HERE / "models"
torch.set_num_threads(1)
torch.backends.mha.set_fastpath_enabled(False)


# Factors and summands for `fill`: into the GELUs what the erf and the tanh form differ on most, and more out of them.
IN, OUT = ("fc1", "intermediate.dense"), ("fc2", "0.output.dense", "1.output.dense")
GELUS = {f"{name}.weight": (0.3, 0.0) for name in IN} | {f"{name}.bias": (1.0, -2.3) for name in IN} | {f"{name}.weight": (8.0, 0.0) for name in OUT}


def fill(model: torch.nn.Module, seed: int, small: float = 0.02, adjust: dict = {}) -> torch.nn.Module:
    """Trained-like values: small tokens (so that a wrong eps shows in the first norm), norms away from 1, biases from 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            leaf = name.split(".")[-1]
            is_norm = parameter.ndim == 1 and leaf == "weight"
            if is_norm and any(part in name for part in ("q_norm", "k_norm")):
                values = 1.4 + 0.4 * values
            elif is_norm:
                values = 1 + 0.25 * values
            elif leaf in ("gamma", "lambda1"):
                values = 0.7 + 0.2 * values
            elif leaf.endswith("bias"):
                values = 0.2 * values if "patch" not in name and "conv_proj" not in name else small / 2 * values
            elif leaf in ("latent", "probe"):
                values = 0.7 * values
            elif any(part in name for part in ("token", "pos_embed", "position", "pos_embedding", "class_embedding")):
                values = small * values
            elif "patch" in name or "conv_proj" in name:
                values = small * values / parameter[0].numel() ** 0.5
            elif parameter.ndim >= 2:
                values = 1.3 * values / parameter.shape[1] ** 0.5
            for ending, (factor, summand) in adjust.items():
                if name.endswith(ending):
                    values = factor * values + summand
            parameter.copy_(values)
    return model.eval()


def tap(blocks, run):
    """Runs the model with the input of every block kept, and the output of the last; checks every branch's weight."""
    states, handles = [], []
    for block in blocks:
        handles.append(block.register_forward_pre_hook(lambda _, args, kwargs: states.append((args[0] if args else kwargs["hidden_states"]).clone()), with_kwargs=True))

    def last(_, __, output):
        states.append((output[0] if isinstance(output, tuple) else output).clone())

    handles.append(blocks[-1].register_forward_hook(last))
    with torch.no_grad():
        result = run()
    for handle in handles:
        handle.remove()
    for before, after in zip(states, states[1:]):
        assert (after - before).norm() > 0.1 * before.norm(), "a block adds too little to be noticed"
    return result, states


def write(name: str, model, state, config, pixel_values, outputs, states, files=None, dtype=torch.float32, shards=None):
    folder = MODELS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    state = {key: (value.detach().to(dtype) if value.is_floating_point() else value).contiguous() for key, value in state.items()}
    if shards:
        keys, index = sorted(state), {}
        for i in range(shards):
            file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
            part = keys[i::shards]
            save_file({key: state[key] for key in part}, folder / file)
            index.update({key: file for key in part})
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    else:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    for file, content in {"config.json": config, **(files or {})}.items():
        if content is not None:
            (folder / file).write_text(json.dumps(content, indent=1))
    golden = {"pixel_values": pixel_values, **outputs, **{f"hidden_states.{i}": s for i, s in enumerate(states)}}
    golden = {key: value.detach().float().contiguous() for key, value in golden.items()}
    assert all(value.isfinite().all() for value in golden.values())
    save_file(golden, folder / "golden.safetensors")


def pixels(name, height, width, batch=2, chans=3):
    values = hashed(name, batch * chans * height * width).reshape(batch, chans, height, width)
    return torch.from_numpy(values)


def round_to(model, dtype):
    """The values a half-precision file would hold, computed with in f32."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(dtype).float())
