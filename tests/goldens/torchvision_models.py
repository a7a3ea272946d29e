"""torchvision VisionTransformer."""

import torch
import torchvision

from common import fill, pixels, tap, write


def torchvision_case(name, seed, old_names=False, representation=None):
    torch.manual_seed(seed)
    model = torchvision.models.VisionTransformer(image_size=20, patch_size=4, num_layers=2, num_heads=3, hidden_dim=36, mlp_dim=60, num_classes=9, representation_size=representation)
    fill(model, seed)
    x = pixels(name, 20, 20)

    def run():
        tokens = torch.cat([model.class_token.expand(2, -1, -1), model._process_input(x)], dim=1)
        hidden = model.encoder(tokens)
        pooled = hidden[:, 0]
        for layer in list(model.heads)[:-1]:
            pooled = layer(pooled)
        return hidden, pooled

    (hidden, pooled), states = tap(list(model.encoder.layers), run)
    with torch.no_grad():
        logits = model(x)
    state = model.state_dict()
    if old_names:
        state = {key.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value for key, value in state.items()}
    outputs = {"logits": logits, "last_hidden_state": hidden, "pooled": pooled}
    write(name, model, state, {"num_heads": 3}, x, outputs, states)


def write_all():
    torchvision_case("torchvision", 21)
    torchvision_case("torchvision_old_names_pre_logits", 22, old_names=True, representation=22)
