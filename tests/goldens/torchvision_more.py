"""torchvision: a file for one size read at another, through the package's own helper."""

import torch
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import interpolate_embeddings

from common import pixels, tap, write
from meta_models import differs, trained


def write_all():
    name, sizes = "torchvision_resampled", dict(patch_size=4, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=48, num_classes=6)
    small = VisionTransformer(image_size=16, **sizes)
    state = trained({key: tuple(value.shape) for key, value in small.state_dict().items()}, 71, torch.float16)
    x = pixels(name, 24, 24)

    def at_size(table):
        model = VisionTransformer(image_size=24, **sizes).eval()
        model.load_state_dict(table)

        def run():
            tokens = torch.cat([model.class_token.expand(2, -1, -1), model._process_input(x)], dim=1)
            return model.encoder(tokens)

        hidden, states = tap(list(model.encoder.layers), run)
        with torch.no_grad():
            return {"logits": model(x), "last_hidden_state": hidden, "pooled": hidden[:, 0]}, states

    outputs, states = at_size(interpolate_embeddings(24, 4, dict(state)))
    table = state["encoder.pos_embedding"]
    for antialias in (False, True):
        grid = table[:, 1:].reshape(1, 4, 4, 32).permute(0, 3, 1, 2)
        grid = torch.nn.functional.interpolate(grid, size=(6, 6), mode="bicubic", antialias=antialias).flatten(2).transpose(1, 2)
        mistake, _ = at_size({**state, "encoder.pos_embedding": torch.cat([table[:, :1], grid], dim=1)})
        differs(outputs["logits"], mistake["logits"])
    write(name, None, state, {"num_heads": 2}, x, outputs, states, dtype=torch.float16)
