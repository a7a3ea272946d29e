"""Meta's own checkpoints (DINO, DINOv2, MAE), by a plain reference that works on the names of the files."""

import math

import torch
import torch.nn.functional as F

from common import pixels, write

WIDTH, HIDDEN, HEADS, PATCH, CLASSES = 32, 48, 2, 4, 6


def trained(shapes, seed, dtype=torch.float32):
    """Values like a trained model's for a table of names and shapes (common.fill, for models that are not modules)."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        values, leaf = torch.randn(shape, generator=generator), name.split(".")[-1]
        if leaf == "gamma":
            values = 0.7 + 0.2 * values
        elif any(part in name for part in ("token", "pos_embed", "positional", "class_embedding")):
            values = 0.02 * values
        elif leaf.endswith("bias"):
            values = (0.01 if "patch" in name else 0.2) * values
        elif len(shape) == 1:
            values = 1 + 0.25 * values
        elif len(shape) == 4:
            values = 0.02 * values / math.prod(shape[1:]) ** 0.5
        elif len(shape) == 2:
            # `proj` and `text_projection` of CLIP are [in, out]; every other matrix is [out, in].
            values = 1.3 * values / shape[0 if leaf in ("proj", "text_projection") else 1] ** 0.5
        state[name] = values.to(dtype).float()
    return state


def linear(out, into, name):
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def norm(width, name):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def block_shapes(name, width=WIDTH, hidden=HIDDEN, swiglu=False, scale=False):
    shapes = {**norm(width, f"{name}.norm1"), **linear(3 * width, width, f"{name}.attn.qkv"), **linear(width, width, f"{name}.attn.proj"), **norm(width, f"{name}.norm2")}
    first, second, rows = ("w12", "w3", 2 * hidden) if swiglu else ("fc1", "fc2", hidden)
    shapes.update({**linear(rows, width, f"{name}.mlp.{first}"), **linear(width, hidden, f"{name}.mlp.{second}")})
    if scale:
        shapes.update({f"{name}.ls1.gamma": (width,), f"{name}.ls2.gamma": (width,)})
    return shapes


def encoder_shapes(side, depth=2, registers=0, swiglu=False, dinov2=False, final_norm=True):
    shapes = {"cls_token": (1, 1, WIDTH), "pos_embed": (1, 1 + side * side, WIDTH)}
    if registers:
        shapes["register_tokens"] = (1, registers, WIDTH)
    if dinov2:
        shapes["mask_token"] = (1, WIDTH)
    shapes.update({"patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH), "patch_embed.proj.bias": (WIDTH,)})
    for i in range(depth):
        shapes.update(block_shapes(f"blocks.{i}", swiglu=swiglu, scale=dinov2))
    return {**shapes, **(norm(WIDTH, "norm") if final_norm else {})}


def resample(table, height, width, offset=0.0, antialias=False):
    """A square table [1, n·n, D] for another grid: to a size, or by the factors DINO reaches it with."""
    side = math.isqrt(table.shape[1])
    goal = {"scale_factor": ((height + offset) / side, (width + offset) / side)} if offset else {"size": (height, width)}
    grid = table.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, mode="bicubic", antialias=antialias, **goal)
    assert grid.shape[2:] == (height, width)
    return grid.permute(0, 2, 3, 1).reshape(1, height * width, -1)


def encode(w, x, eps=1e-6, swap_gate=False, early_registers=False, **resampling):
    """The input of every block and the output of the last. `swap_gate` and `early_registers` are the mistakes to tell apart."""
    height, width = (side // PATCH for side in x.shape[2:])
    tokens = F.conv2d(x, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=PATCH).flatten(2).transpose(1, 2)
    cls, table = w["cls_token"] + w["pos_embed"][:, :1], w["pos_embed"][:, 1:]
    if table.shape[1] != height * width or height != width:
        table = resample(table, height, width, **resampling)
    tokens = tokens + table
    batch = lambda prefix: prefix.expand(len(x), -1, -1)
    registers = [batch(w["register_tokens"])] if "register_tokens" in w else []
    if early_registers:
        # As if row 0 of the table were for every prefix token.
        registers = [registers[0] + w["pos_embed"][:, :1]]
    tokens = torch.cat([batch(cls), *registers, tokens], dim=1)
    states, i = [tokens], 0
    while f"blocks.{i}.norm1.weight" in w:
        part = lambda name, value: F.linear(value, w[f"blocks.{i}.{name}.weight"], w[f"blocks.{i}.{name}.bias"])
        layer_norm = lambda name, value: F.layer_norm(value, (WIDTH,), w[f"blocks.{i}.{name}.weight"], w[f"blocks.{i}.{name}.bias"], eps)
        q, k, v = part("attn.qkv", layer_norm("norm1", tokens)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(2, 3) * q.shape[-1] ** -0.5).softmax(-1) @ v
        tokens = add(tokens, part("attn.proj", mixed.transpose(1, 2).flatten(2)), w.get(f"blocks.{i}.ls1.gamma"))
        hidden = layer_norm("norm2", tokens)
        if f"blocks.{i}.mlp.w12.weight" in w:
            gate, value = part("mlp.w12", hidden).chunk(2, dim=-1)
            gate, value = (value, gate) if swap_gate else (gate, value)
            hidden = part("mlp.w3", F.silu(gate) * value)
        else:
            hidden = part("mlp.fc2", F.gelu(part("mlp.fc1", hidden)))
        tokens = add(tokens, hidden, w.get(f"blocks.{i}.ls2.gamma"))
        states.append(tokens)
        i += 1
    return states


def add(tokens, branch, gamma):
    branch = branch if gamma is None else branch * gamma
    assert branch.norm() > 0.1 * tokens.norm(), "a branch adds too little to be noticed"
    return tokens + branch


def differs(right, *wrong):
    for value in wrong:
        assert (value - right).norm() > 1e-3 * right.norm(), "a mistake would pass unnoticed"


def meta_case(name, seed, shapes, size=(16, 16), head=None, config=None, mistakes=(), extra=None, dtype=torch.float32, **resampling):
    """`shapes` are the encoder's, `extra` those the model has besides; `head` turns states into what the head is given."""
    w = trained({**shapes, **(extra or {})}, seed, dtype)
    x = pixels(name, *size)
    final = lambda value, norm="norm": F.layer_norm(value, (WIDTH,), w[f"{norm}.weight"], w[f"{norm}.bias"], 1e-6)
    states = encode(w, x, **resampling)
    last = final(states[-1]) if "norm.weight" in w else states[-1].clone()
    pooled = head(states, final) if head else last[:, 0]
    outputs = {"last_hidden_state": last, "pooled": pooled}
    prefix = ""
    for key in ("head", "linear_head"):
        if f"{key}.weight" in w:
            outputs["logits"] = F.linear(pooled, w[f"{key}.weight"], w[f"{key}.bias"])
            prefix = "backbone." if key == "linear_head" else ""
    differs(states[-1], *(encode(w, x, **{**resampling, **mistake})[-1] for mistake in mistakes), encode(w, x, **{**resampling, "eps": 1e-5})[-1])
    state = {prefix + key if not key.startswith("linear_head") else key: value for key, value in w.items()}
    write(name, None, state, config or {"num_heads": HEADS}, x, outputs, states, dtype=dtype)


def dinov2_head(layers, registers=0):
    """What DINOv2's linear classifiers are given: the class tokens of the last blocks, oldest first, and the mean patch."""

    def features(states, final):
        classes = [final(state)[:, 0] for state in states[-layers:]]
        return torch.cat([*classes, final(states[-1])[:, 1 + registers :].mean(1)], dim=1)

    return features


def write_all():
    dinov2 = lambda side=4, **options: encoder_shapes(side, dinov2=True, **options)
    half, offset, smooth = torch.float16, {"offset": 0.1}, {"antialias": True}
    kernels = ({"offset": 0.0}, {"offset": 0.1, "antialias": True}, {"offset": 0.0, "antialias": True})
    meta_case("meta_dinov2", 31, dinov2())
    swiglu = dinov2(registers=3, swiglu=True)
    meta_case("meta_dinov2_registers_swiglu", 32, swiglu, mistakes=({"swap_gate": True}, {"early_registers": True}), dtype=half)
    head = lambda parts: linear(CLASSES, parts * WIDTH, "linear_head")
    meta_case("meta_dinov2_linear", 33, dinov2(registers=2), head=dinov2_head(1, 2), extra=head(2), dtype=half)
    meta_case("meta_dinov2_linear4", 34, dinov2(depth=5), head=dinov2_head(4), extra=head(5), dtype=half)
    meta_case("meta_dinov2_resampled", 35, dinov2(7), (16, 24), mistakes=kernels, dtype=half, **offset)
    wrong = ({"antialias": False}, {"antialias": True, "offset": 0.1}, {"early_registers": True})
    meta_case("meta_dinov2_registers_resampled", 36, dinov2(7, registers=3), (16, 24), mistakes=wrong, dtype=half, **smooth)

    dino = {"model_type": "dino", "num_heads": HEADS}
    meta_case("meta_dino", 37, encoder_shapes(4), config=dino, dtype=half)
    meta_case("meta_dino_resampled", 38, encoder_shapes(7), (16, 24), config=dino, mistakes=kernels, dtype=half, **offset)

    decoder = {"mask_token": (1, 1, 16), "decoder_pos_embed": (1, 17, 16), **linear(16, WIDTH, "decoder_embed")}
    decoder.update({**block_shapes("decoder_blocks.0", 16, 24), **norm(16, "decoder_norm"), **linear(3 * PATCH * PATCH, 16, "decoder_pred")})
    meta_case("meta_mae", 39, encoder_shapes(4), extra=decoder, dtype=half)
    mean = lambda states, final: final(states[-1][:, 1:].mean(1), "fc_norm")
    finetuned = {**norm(WIDTH, "fc_norm"), **linear(CLASSES, WIDTH, "head")}
    meta_case("meta_mae_finetuned", 40, encoder_shapes(4, final_norm=False), head=mean, extra=finetuned, dtype=half)
