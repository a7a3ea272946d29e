"""Random values for every parameter and stored float buffer of a model, whatever its name, so that each has an effect."""

import torch
from torch import nn

ACTIVATIONS = ("gelu", "silu", "swish", "relu", "sigmoid", "tanh", "mish", "act")
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.MultiheadAttention, nn.Bilinear)


def fill(model: nn.Module, seed: int, small: float = 1.0) -> nn.Module:
    """Fills the model in place and puts it into evaluation mode.

    Values have few bits, so that hundreds of models fit in a small pack.
    `small` scales the tokens, the positions and the patch embedding: 0.004 makes the epsilon of the first norm show.
    """
    generator = torch.Generator().manual_seed(seed)
    tails = mlp_tails(model, generator)
    done = set()
    with torch.no_grad():
        for path, module in model.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                if id(parameter) not in done and parameter.is_floating_point():
                    done.add(id(parameter))
                    parameter.copy_(values_of(module, path, name, parameter, generator, small, tails).bfloat16())
        fill_buffers(model, generator)
    return model.eval()


def values_of(module, path, name, parameter, generator, small, tails):
    """The values of one parameter, from the kind of module that holds it and the parameter's own name and shape."""
    values = torch.randn(parameter.shape, generator=generator)
    lower = name.lower()
    if "norm" in type(module).__name__.lower():
        return 0.3 * values if "bias" in lower else 1 + 0.25 * values
    if isinstance(module, nn.Embedding):
        return small * values
    if isinstance(module, LAYERS):
        return layer_values(module, path, lower, values, small, tails)
    if any(part in lower for part in ("gamma", "lambda", "scale")) or lower in ("ls", "g"):
        return 0.7 + 0.2 * values
    if "bias" in lower:
        return 0.3 * values
    if any(part in lower for part in ("latent", "probe", "query", "queries")):
        return 0.7 * values
    if parameter.ndim >= 2 and any(part in lower for part in ("proj", "weight", "kernel")):
        fan_in = parameter.shape[0] if lower == "proj" else parameter[0].numel()
        return 1.3 * values / fan_in**0.5
    return small * values


def layer_values(module, path, lower, values, small, tails):
    """A matrix or convolution: the patch embedding scaled by `small`, an MLP's layers as `mlp_tails` says."""
    first = is_patch_embedding(module, path)
    factor, shift = tails.get(path, (1.0, 0.0))
    if "bias" in lower:
        return (small if first else 1.0) * 0.3 * values + (shift if lower == "bias" else 0.0)
    return (small if first else 1.0) * factor * 1.3 * values / max(1, values[0].numel()) ** 0.5


def is_patch_embedding(module, path) -> bool:
    """Whether this layer makes tokens out of pixels."""
    path = path.lower()
    return isinstance(module, nn.Conv2d) or any(part in path for part in ("patch", "embedder", "conv_proj"))


def mlp_tails(model, generator) -> dict:
    """Every other MLP, drawn by chance, works where the forms of GELU differ most: around −2.3, its output enlarged.

    Returns factor and summand of the layers before and behind such an activation.
    """
    modules = list(model.named_modules())
    linears = [path for path, module in modules if isinstance(module, nn.Linear)]
    order = {path: i for i, (path, _) in enumerate(modules)}
    tails = {}
    for path, module in modules:
        children = list(module.named_children())
        acts = [child for child in children if is_activation(child[1])]
        own = [f"{path}.{name}".lstrip(".") for name, child in children if isinstance(child, nn.Linear)]
        if not acts or not own or torch.rand((), generator=generator) < 0.5:
            continue
        behind = own[-1:] if len(own) > 1 else [name for name in linears if order[name] > order[own[0]]][:1]
        # A norm between the two enlarges by itself.
        normed = any("norm" in type(child).__name__.lower() for _, child in children)
        tails[own[0]] = (0.3, -2.3)
        tails |= {} if normed else {name: (8.0, 0.0) for name in behind}
    return tails


def is_activation(module) -> bool:
    """Whether a module is an activation function: no parameters, and the name of one."""
    name = type(module).__name__.lower()
    return not list(module.parameters()) and not isinstance(module, nn.Identity) and any(part in name for part in ACTIVATIONS)


def fill_buffers(model, generator) -> None:
    """Float buffers that a checkpoint stores, unless they define positions."""
    stored = set(model.state_dict())
    for name, buffer in model.named_buffers():
        leaf = name.lower().split(".")[-1]
        if name not in stored or not buffer.is_floating_point() or any(part in leaf for part in ("pos", "freq", "index")):
            continue
        values = torch.randn(buffer.shape, generator=generator)
        buffer.copy_(0.5 + values.abs() if "var" in leaf else 0.3 * values)
