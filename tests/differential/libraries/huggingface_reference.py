"""What transformers computes, and the folder that its users would save: shared by all its classes."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from . import Case, Invalid

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
BLOCKS = ("layers", "layer", "blocks")
# An output that no run of vit-gpu gives: a model with this expectation must be refused.
REFUSAL = "a refusal"
LARGEST = 60_000


def blocks_of(encoder: torch.nn.Module) -> torch.nn.ModuleList:
    """The list of an encoder's blocks: the first list of that name on the way down."""
    for name, module in encoder.named_modules():
        if isinstance(module, (torch.nn.ModuleList, torch.nn.Sequential)) and name.split(".")[-1] in BLOCKS:
            return module
    raise Invalid("no list of blocks")


class Taps:
    """Keeps the input of every block and the output of the last, the encoder's output and the classifier's input."""

    def __init__(self, model: torch.nn.Module, encoder: torch.nn.Module):
        self.states, self.encoded, self.classified, self.handles = [], [], [], []
        blocks = blocks_of(encoder)
        for block in blocks:
            self.handles.append(block.register_forward_pre_hook(self.before, with_kwargs=True))
        self.handles.append(blocks[-1].register_forward_hook(lambda _, __, out: self.states.append(first(out).clone())))
        self.handles.append(encoder.register_forward_hook(lambda _, __, out: self.encoded.append(out)))
        if isinstance(classifier := getattr(model, "classifier", None), torch.nn.Module):
            self.handles.append(classifier.register_forward_pre_hook(lambda _, args: self.classified.append(args[0].clone())))

    def before(self, _, args, kwargs):
        self.states.append((args[0] if args else kwargs["hidden_states"]).clone())

    def remove(self):
        for handle in self.handles:
            handle.remove()


def first(output):
    return output[0] if isinstance(output, (tuple, list)) else output


def run(model: torch.nn.Module, encoder: torch.nn.Module, forward) -> tuple:
    """The result of `forward` and what the taps kept of it."""
    taps = Taps(model, encoder)
    try:
        with torch.no_grad():
            return forward(), taps
    finally:
        taps.remove()


def expected_of(result, taps: Taps, pooled_is_first: bool) -> dict:
    """The outputs that vit-gpu must give. `pooled_is_first`: a class without a pooler is said to pool its first token."""
    encoded = taps.encoded[-1]
    hidden = getattr(encoded, "last_hidden_state", None)
    expected = {f"hidden_states.{i}": state for i, state in enumerate(taps.states)}
    if hidden is not None:
        expected["last_hidden_state"] = hidden
    pooled = getattr(encoded, "pooler_output", None)
    if taps.classified:
        pooled = taps.classified[-1]
    elif getattr(result, "image_embeds", None) is not None:
        pooled = result.image_embeds
    elif getattr(result, "pooler_output", None) is not None:
        pooled = result.pooler_output
    elif pooled is None and pooled_is_first and hidden is not None:
        pooled = hidden[:, 0]
    if pooled is not None:
        expected["pooled"] = pooled
    return expected


def as_case(pixels: torch.Tensor, expected: dict, extra_args: list) -> Case:
    """Refuses a draw whose reference overflows: nothing could be compared with it."""
    values = {key: value.detach().float().contiguous().numpy() for key, value in expected.items()}
    if not all(np.isfinite(value).all() for value in values.values()):
        raise Invalid("the reference is not finite")
    return Case({"pixel_values": pixels.numpy()}, values, extra_args)


def pixels_of(seed: int, batch: int, chans: int, height: int, width: int) -> torch.Tensor:
    return torch.randn(batch, chans, height, width, generator=torch.Generator().manual_seed(seed + 1))


def round_to(model: torch.nn.Module, dtype: str):
    """The values that a half-precision file holds; the reference computes with them in f32."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(DTYPES[dtype]).float())


def save(model, folder: Path, saved: str, dtype: str):
    """Writes the folder `model` in one of the ways that users of transformers do."""
    if sum(value.numel() for value in model.state_dict().values()) * DTYPES[dtype].itemsize > LARGEST:
        raise Invalid("too large for the pack")
    folder = folder / "model"
    folder.mkdir(parents=True, exist_ok=True)
    model = model.to(DTYPES[dtype])
    if saved.startswith("raw"):
        raw(model, folder, saved)
    else:
        more = {"sharded": {"max_shard_size": "8KB"}, "current_names": {"save_original_format": False}, "variant": {"variant": "fp16"}}.get(saved, {})
        model.save_pretrained(folder, **more)
    model.float()


def raw(model, folder: Path, saved: str):
    """`save_file` of the state dictionary. `raw_bare`: the configuration does not name the class; `raw_whole`: it lists what is
    default too; `raw_parallel`, `raw_compiled`: saved from within a wrapper of torch's."""
    prefix = {"raw_parallel": "module.", "raw_compiled": "_orig_mod."}.get(saved, "")
    state = {prefix + key: value.detach().clone().contiguous() for key, value in model.state_dict().items()}
    if saved == "raw_positions":
        # Files from before transformers 4.31 hold these too.
        for key in [key for key in state if key.endswith("position_embedding.weight")]:
            state[key.replace("embedding.weight", "ids")] = torch.arange(len(state[key]))[None]
    save_file(state, folder / "model.safetensors")
    model.config.to_json_file(folder / "config.json", use_diff=saved != "raw_whole")
    if saved != "raw_bare":
        content = json.loads((folder / "config.json").read_text())
        content["architectures"] = [type(model).__name__]
        (folder / "config.json").write_text(json.dumps(content, indent=2))
