"""Models of tutorials and their descendants, each by a plain reference that works on the names of its files.

`vit_gpu` is the type of a configuration that says of such a file what its tensors do not.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors.torch import load_file, save_file

from common import MODELS, pixels, write
from meta_models import differs, linear, norm, trained

WIDTH, HIDDEN, HEADS, PATCH, CLASSES, EPS = 32, 48, 2, 4, 6, 1e-5


def values(shapes, seed, adjust):
    """`meta_models.trained`, then a factor and a summand for names with an ending, rounded to what the file holds."""
    w = trained(shapes, seed)
    for ending, (factor, summand) in adjust.items():
        found = [name for name in w if name.endswith(ending)]
        assert found, f"{ending}: no such name"
        w.update({name: factor * w[name] + summand for name in found})
    return {name: value.half().float() for name, value in w.items()}


def gelus(first, second):
    """As common.GELUS: into the GELUs what the erf and the tanh form differ on most, and more out of them."""
    return {f"{first}.weight": (0.3, 0.0), f"{first}.bias": (1.0, -2.3), f"{second}.weight": (8.0, 0.0)}


def fed(w, name, x):
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def normed(w, name, x, eps):
    """Over as many of the last dimensions as the norm has weights for."""
    weight = w[f"{name}.weight"]
    return F.layer_norm(x, weight.shape, weight, w[f"{name}.bias"], eps)


def attend(q, k, v, before, after=1.0):
    """Scores times `before`; the softmax times `after`."""
    return rearrange((q @ k.transpose(2, 3) * before).softmax(-1) * after @ v, "b h n d -> b n (h d)")


def with_class(token, table, patches):
    return torch.cat([token.reshape(1, 1, -1).expand(len(patches), -1, -1), patches], dim=1) + table


def case(name, family, w, x, model, mistakes, config, extra={}, shown=3):
    """`model(w, x)` gives the states (of two blocks, or of each of their branches), what its encoder gives, what its last linear
    layer is given, and the logits. A mistake is options of `model`, or an edit of the weights that comes to the same; it must
    show in what `model` gives at `shown`."""
    states, last, pooled, logits = model(w, x)
    for before, after in zip(states, states[1:]):
        assert (after - before).norm() > 0.1 * before.norm(), "a branch adds too little to be noticed"
    for mistake in mistakes:
        wrong = model(mistake(w), x) if callable(mistake) else model(w, x, **mistake)
        differs((states, last, pooled, logits)[shown], wrong[shown])
    config = {"model_type": "vit_gpu", "family": family, "num_heads": HEADS, "img_size": list(x.shape[2:]), **config}
    outputs = {"last_hidden_state": last.clone(), "pooled": pooled, "logits": logits}
    write(name, None, w, config, x, outputs, states[:: len(states) // 2], dtype=torch.float16)
    if extra:
        file = MODELS / name / "golden.safetensors"
        save_file({**load_file(file), **extra}, file)


def edited(name, change):
    """An edit of every tensor whose name ends so."""
    return lambda w: {key: change(value).contiguous() if key.endswith(name) else value for key, value in w.items()}


def patchlayer(seed):
    shapes = {"patch_embedder.class_token": (1, WIDTH), "patch_embedder.positional_emb": (1, 3 * 4 + 1, WIDTH)}
    shapes.update(linear(WIDTH, 3 * PATCH * PATCH, "patch_embedder.projection_layer.0"))
    for i in range(2):
        block = f"transformer.layers.{i}"
        shapes.update({**norm(WIDTH, f"{block}.0.norm"), **linear(3 * WIDTH, WIDTH, f"{block}.0.fn.Uqkv"), **norm(WIDTH, f"{block}.1.norm")})
        shapes.update({**linear(HIDDEN, WIDTH, f"{block}.1.fn.mlp.0"), **linear(WIDTH, HIDDEN, f"{block}.1.fn.mlp.3")})
    shapes.update({**norm(WIDTH, "mlp.0"), **linear(40, WIDTH, "mlp.1"), **linear(CLASSES, 40, "mlp.2")})
    w = values(shapes, seed, {**gelus("fn.mlp.0", "fn.mlp.3"), "projection_layer.0.weight": (0.02, 0.0)})

    def model(w, x, eps=EPS, scale=WIDTH**-0.5, order="(s1 s2 c)", rows="(qkv h d)", grid="(h w)", gelu="none", mean=False, between=lambda value: value):
        patches = rearrange(x, f"b c (h s1) (w s2) -> b {grid} {order}", s1=PATCH, s2=PATCH)
        tokens = with_class(w["patch_embedder.class_token"], w["patch_embedder.positional_emb"], fed(w, "patch_embedder.projection_layer.0", patches))
        states = [tokens]
        for i in range(2):
            block = f"transformer.layers.{i}"
            rows_of = fed(w, f"{block}.0.fn.Uqkv", normed(w, f"{block}.0.norm", tokens, eps))
            tokens = tokens + attend(*rearrange(rows_of, f"b n {rows} -> qkv b h n d", qkv=3, h=HEADS), scale)
            states.append(tokens)
            hidden = fed(w, f"{block}.1.fn.mlp.0", normed(w, f"{block}.1.norm", tokens, eps))
            tokens = tokens + fed(w, f"{block}.1.fn.mlp.3", F.gelu(hidden, approximate=gelu))
            states.append(tokens)
        pooled = between(fed(w, "mlp.1", normed(w, "mlp.0", tokens.mean(1) if mean else tokens[:, 0], eps)))
        return states, tokens, pooled, fed(w, "mlp.2", pooled)

    mistakes = [dict(eps=1e-6), dict(scale=(WIDTH // HEADS) ** -0.5), dict(order="(c s1 s2)"), dict(grid="(w h)"), dict(gelu="tanh"), dict(mean=True)]
    mistakes += [dict(rows="(qkv d h)"), dict(rows="(h d qkv)"), dict(between=F.gelu)]
    case("patchlayer", "patchlayer", w, pixels("patchlayer", 12, 16), model, mistakes, {})


# What each variant multiplies the scores with and, after the softmax, the weights.
ZUPPICHINI = {
    "fused": (1.0, WIDTH**-0.5),
    "readme": (1.0, (WIDTH // HEADS) ** -0.5),
    "notebook": ((WIDTH // HEADS) ** -0.5, 1.0),
}


def zuppichini(variant, seed):
    shapes = {"0.cls_token": (1, 1, WIDTH), "0.positions": (3 * 2 + 1, WIDTH), "0.projection.0.weight": (WIDTH, 3, PATCH, PATCH), "0.projection.0.bias": (WIDTH,)}
    fused = variant == "fused"
    for i in range(2):
        attention = f"1.{i}.0.fn.1"
        shapes.update(norm(WIDTH, f"1.{i}.0.fn.0"))
        for part in ("qkv",) if fused else ("keys", "queries", "values"):
            shapes.update(linear(3 * WIDTH if fused else WIDTH, WIDTH, f"{attention}.{part}"))
        shapes.update({**linear(WIDTH, WIDTH, f"{attention}.projection"), **norm(WIDTH, f"1.{i}.1.fn.0")})
        shapes.update({**linear(HIDDEN, WIDTH, f"1.{i}.1.fn.1.0"), **linear(WIDTH, HIDDEN, f"1.{i}.1.fn.1.3")})
    shapes.update({**norm(WIDTH, "2.1"), **linear(CLASSES, WIDTH, "2.2")})
    # Scores that need no factor to be of size 1, and more out of an attention that is divided by one.
    sizes = {"fn.1.qkv.weight": (0.5, 0.0)} if fused else {"fn.1.queries.weight": (0.6, 0.0), "fn.1.keys.weight": (0.6, 0.0)}
    sizes = {} if variant == "notebook" else {**sizes, "fn.1.projection.weight": (6.0 if fused else 3.0, 0.0)}
    small = {"0.positions": (0.08, 0.0), "0.projection.0.bias": (0.05, 0.0)}
    w = values(shapes, seed, {**gelus("1.fn.1.0", "1.fn.1.3"), **sizes, **small})

    def model(w, x, eps=EPS, scales=ZUPPICHINI[variant], rows="(h d qkv)" if fused else "(h d)", gelu="none", pool=lambda tokens: tokens.mean(1)):
        patches = F.conv2d(x, w["0.projection.0.weight"], w["0.projection.0.bias"], stride=PATCH).flatten(2).transpose(1, 2)
        tokens = with_class(w["0.cls_token"], w["0.positions"], patches)
        states = [tokens]
        for i in range(2):
            attention, hidden = f"1.{i}.0.fn.1", normed(w, f"1.{i}.0.fn.0", tokens, eps)
            if fused:
                qkv = rearrange(fed(w, f"{attention}.qkv", hidden), f"b n {rows} -> qkv b h n d", qkv=3, h=HEADS)
            else:
                qkv = [rearrange(fed(w, f"{attention}.{part}", hidden), f"b n {rows} -> b h n d", h=HEADS) for part in ("queries", "keys", "values")]
            tokens = tokens + fed(w, f"{attention}.projection", attend(*qkv, *scales))
            states.append(tokens)
            hidden = fed(w, f"1.{i}.1.fn.1.0", normed(w, f"1.{i}.1.fn.0", tokens, eps))
            tokens = tokens + fed(w, f"1.{i}.1.fn.1.3", F.gelu(hidden, approximate=gelu))
            states.append(tokens)
        pooled = normed(w, "2.1", pool(tokens), eps)
        return states, tokens, pooled, fed(w, "2.2", pooled)

    mistakes = [dict(eps=1e-6), dict(gelu="tanh"), dict(pool=lambda tokens: tokens[:, 0]), dict(pool=lambda tokens: tokens[:, 1:].mean(1))]
    others = {order for scales in ZUPPICHINI.values() for order in (scales, scales[::-1])} - {ZUPPICHINI[variant]}
    mistakes += [dict(scales=scales) for scales in sorted(others)]
    mistakes += [dict(rows=rows) for rows in (("(qkv h d)", "(h qkv d)", "(d h qkv)") if fused else ("(d h)",))]
    mistakes += [edited("0.projection.0.weight", lambda value: value.transpose(2, 3)), edited("0.positions", lambda value: value.roll(1, 0))]
    name = f"zup_{variant}"
    case(name, "zuppichini", w, pixels(name, 12, 8), model, mistakes, {} if fused else {"variant": variant})


def torch_encoder(name, seed, batch_first, norm_first=False, act="relu", batch=2):
    def build(batch_first=batch_first, norm_first=norm_first, act=act, eps=EPS, final=norm_first):
        last = torch.nn.LayerNorm(WIDTH, eps=eps) if final else None
        layer = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, 0.0, act, eps, batch_first, norm_first)
        return torch.nn.TransformerEncoder(layer, 2, last, enable_nested_tensor=False).eval()

    shapes = {"kernel": (WIDTH, 3, PATCH, PATCH), "cls_token": (1, 1, WIDTH), "position_embedding_table": (10, WIDTH)}
    shapes.update({f"encoder.{key}": tuple(value.shape) for key, value in build().state_dict().items()})
    shapes.update(linear(CLASSES, WIDTH, "linear_layer"))
    adjust = {"position_embedding_table": (0.03, 0.0), **(gelus("linear1", "linear2") if act == "gelu" else {})}
    # Where the norms come after the branches, it is the first attention that must be small for an eps to show.
    little = {} if norm_first else {"0.self_attn.in_proj_bias": (0.05, 0.0), "0.self_attn.out_proj.bias": (0.05, 0.0)}
    w = values(shapes, seed, {**adjust, **little})

    def model(w, x, pool=lambda tokens: tokens[:, 0], **options):
        encoder = build(**options)
        encoder.load_state_dict({key.removeprefix("encoder."): value for key, value in w.items() if key.startswith("encoder.")}, strict=options == {})
        patches = F.unfold(x, PATCH, stride=PATCH).transpose(1, 2) @ w["kernel"].reshape(WIDTH, -1).T
        tokens = torch.cat([w["cls_token"].expand(len(x), -1, -1), patches], dim=1)
        tokens = tokens + w["position_embedding_table"][: tokens.shape[1]]
        states = [tokens]
        with torch.no_grad():
            for layer in encoder.layers:
                states.append(layer(states[-1]))
            last = encoder(tokens)
        pooled = pool(last)
        return states, last, pooled, fed(w, "linear_layer", pooled)

    interleaved = lambda value: rearrange(value, "(s h d) ... -> (s d h) ...", s=3, h=HEADS)
    factor = torch.cat([torch.full((WIDTH,), HEADS**-0.5), torch.ones(2 * WIDTH)])
    scaled = lambda value: value * (factor[:, None] if value.ndim == 2 else factor)
    both = lambda change: lambda w: edited("in_proj_bias", change)(edited("in_proj_weight", change)(w))
    mistakes = [both(interleaved), both(scaled), dict(eps=1e-6), dict(batch_first=not batch_first), dict(norm_first=not norm_first)]
    mistakes += [dict(act=wrong) for wrong in ("relu", "gelu", lambda value: F.gelu(value, approximate="tanh")) if wrong != act]
    mistakes += [edited("kernel", lambda value: rearrange(value, "o c y x -> o y x c").reshape(value.shape)), edited("position_embedding_table", lambda value: value[1:])]
    mistakes += [dict(pool=lambda tokens: tokens.mean(1))] if batch_first else []
    mistakes += [dict(final=False)] if norm_first else []
    x = pixels(name, 12, 8, batch)
    extra = {}
    if name == "enc_batch_first":
        labels = torch.tensor([4, 1])
        extra = {"labels": labels, "loss": F.cross_entropy(model(w, x)[3], labels).reshape(1)}
    config = {"batch_first": batch_first, **({"norm_first": True, "act": act} if norm_first else {})}
    # Across the batch a class token attends only to class tokens, all of them one: no image reaches its logits.
    case(name, "torch_encoder", w, x, model, mistakes, config, extra, shown=3 if batch_first else 1)


def per_head(seed, batch=2, height=12, width=8):
    dim, count = 3 * PATCH * PATCH, (height // PATCH) * (width // PATCH) + 1
    joint = lambda name, *shape: {f"{name}.weight": shape, f"{name}.bias": shape}
    shapes = {"cls_embedding.weight": (1, dim), "positional_embedding.weight": (count, dim), **linear(dim, dim, "image_embedding")}
    for i in range(2):
        block = f"layer_list.{i}"
        for part in ("query", "key", "value"):
            for head in range(HEADS):
                shapes.update(linear(dim // HEADS, dim, f"{block}.attention_layer.{part}_layers.{head}"))
        shapes.update({**linear(dim, dim, f"{block}.mlp.0"), **joint(f"{block}.layer_norm1", batch, count, dim), **joint(f"{block}.layer_norm2", batch, count, dim)})
    shapes.update({**joint("layer_norm", batch, dim), **linear(CLASSES, dim, "fc")})
    # Its raw pixels are its tokens: small ones, and little added to them, for an eps and the form of the GELU to show.
    adjust = {"cls_embedding.weight": (0.1, 0.0), "positional_embedding.weight": (0.1, 0.0), "mlp.0.weight": (0.3, 0.0), "mlp.0.bias": (1.0, -2.3)}
    for head in range(HEADS):
        adjust |= {f"value_layers.{head}.weight": (0.05, 0.0), f"value_layers.{head}.bias": (0.05, 0.0)}
    adjust |= {"layer_norm1.weight": (0.25, 1.0), "layer_norm2.weight": (0.25, 1.0), "layer_norm.weight": (0.25 * dim**0.5 / 1.3, 1.0)}
    w = values(shapes, seed, adjust)
    x = 0.02 * pixels("per_head", height, width, batch)

    def model(w, x, eps=EPS, scale=(dim // HEADS) ** -0.5, order="(c y x)", grid="(h w)", gelu="none", axes=None, joined="(h d)", pool=lambda tokens: tokens[:, 0]):
        def layer_norm(name, value):
            if axes is None:
                return normed(w, name, value, eps)
            return F.layer_norm(value, value.shape[-axes:], eps=eps) * w[f"{name}.weight"] + w[f"{name}.bias"]

        tokens = with_class(w["cls_embedding.weight"], w["positional_embedding.weight"], rearrange(x, f"b c (h y) (w x) -> b {grid} {order}", y=PATCH, x=PATCH))
        states = [tokens]
        for i in range(2):
            block, hidden = f"layer_list.{i}", layer_norm(f"layer_list.{i}.layer_norm1", tokens)
            heads = lambda part: torch.stack([fed(w, f"{block}.attention_layer.{part}_layers.{head}", hidden) for head in range(HEADS)], 1)
            mixed = attend(heads("query"), heads("key"), heads("value"), scale)
            tokens = tokens + rearrange(mixed, f"b n (h d) -> b n {joined}", h=HEADS)
            states.append(tokens)
            hidden = layer_norm(f"{block}.layer_norm2", tokens)
            tokens = tokens + F.gelu(fed(w, f"{block}.mlp.0", hidden), approximate=gelu)
            states.append(tokens)
        pooled = layer_norm("layer_norm", pool(tokens))
        return states, tokens, pooled, fed(w, "fc", pooled)

    mistakes = [dict(eps=1e-6), dict(scale=dim**-0.5), dict(order="(y x c)"), dict(grid="(w h)"), dict(gelu="tanh"), dict(axes=1), dict(axes=2)]
    mistakes += [dict(joined="(d h)"), dict(pool=lambda tokens: tokens.mean(1))]
    case("per_head", "per_head", w, x, model, mistakes, {})


def write_all():
    patchlayer(231)
    for seed, variant in enumerate(ZUPPICHINI, 232):
        zuppichini(variant, seed)
    torch_encoder("enc_batch_first", 235, True)
    torch_encoder("enc_batch_second", 236, False, batch=3)
    torch_encoder("enc_norm_first", 237, True, norm_first=True, act="gelu")
    per_head(238)
