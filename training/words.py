"""Trains a small pair of towers, as CLIP does, on captioned drawings of shapes: a test that words and pictures meet.

    python training/words.py tests/goldens/shapes

No real CLIP is needed for it: 8 colours x 6 shapes, drawn at random places and sizes, with captions from a few templates. Eight of
the 48 pairs are never shown in training. The folder gets the model as transformers saves it (in half precision), its tokenizer, a
drawing, and held.png and held.safetensors: pictures that were not trained on, one below the other, what they show, and the scores that
transformers' classes give all 48 labels. It takes two minutes on two cores.
"""

import json
import math
import random
import sys
from pathlib import Path

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F
import transformers as tf
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from tokenizers import pre_tokenizers, trainers
from tokenizers.models import BPE

SIZE = 32
COLOURS = {"red": (220, 30, 30), "green": (30, 160, 50), "blue": (40, 60, 220), "yellow": (235, 210, 40),
           "purple": (140, 40, 170), "orange": (245, 140, 20), "white": (245, 245, 245), "black": (15, 15, 15)}
SHAPES = ["circle", "square", "triangle", "star", "cross", "ring"]
TEMPLATES = ["a {}", "a photo of a {}.", "This is a photo of a {}.", "there is a {} here", "a drawing of a {}", "{}"]
LABELS = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
UNSEEN = ["red star", "green ring", "blue triangle", "yellow circle", "purple cross", "orange square", "white star", "black ring"]


def draw(label, rng):
    colour, shape = label.split()
    ground = tuple(rng.randrange(70, 180) for _ in range(3))
    image = Image.new("RGB", (4 * SIZE, 4 * SIZE), ground)
    pen = ImageDraw.Draw(image)
    r = rng.uniform(0.22, 0.42) * 4 * SIZE
    x, y = (rng.uniform(r, 4 * SIZE - r) for _ in range(2))
    ink = tuple(min(255, max(0, channel + rng.randrange(-15, 16))) for channel in COLOURS[colour])
    turn = rng.uniform(0, 2 * math.pi)
    around = lambda count, radii: [(x + radii[i % len(radii)] * r * math.cos(turn + 2 * math.pi * i / count), y + radii[i % len(radii)] * r * math.sin(turn + 2 * math.pi * i / count)) for i in range(count)]
    if shape == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=ink)
    elif shape == "ring":
        pen.ellipse((x - r, y - r, x + r, y + r), outline=ink, width=int(r / 3))
    elif shape == "square":
        pen.polygon(around(4, [1]), fill=ink)
    elif shape == "triangle":
        pen.polygon(around(3, [1]), fill=ink)
    elif shape == "star":
        pen.polygon(around(10, [1, 0.42]), fill=ink)
    else:
        for angle in (turn, turn + math.pi / 2):
            dx, dy = r * math.cos(angle), r * math.sin(angle)
            pen.line((x - dx, y - dy, x + dx, y + dy), fill=ink, width=int(r / 2))
    image = image.resize((SIZE, SIZE), Image.BOX)
    noise = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 6, (SIZE, SIZE, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def tokenizer(folder):
    ends = ["<|startoftext|>", "<|endoftext|>"]
    clip = tf.CLIPTokenizer(vocab={ends[0]: 0, ends[1]: 1}, merges=[])._tokenizer
    trained = tokenizers.Tokenizer(BPE(unk_token=ends[1], continuing_subword_prefix="", end_of_word_suffix="</w>"))
    trained.normalizer, trained.pre_tokenizer = clip.normalizer, clip.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    texts = [template.format(label) for template in TEMPLATES for label in LABELS]
    trained.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in json.loads(trained.to_str())["model"]["merges"]]
    tokens = alphabet + [byte + "</w>" for byte in alphabet] + [merge.replace(" ", "") for merge in merges] + ends
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(dict.fromkeys(tokens))}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 16}))
    return tf.AutoTokenizer.from_pretrained(folder)


def planes(images):
    return torch.stack([torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 127.5 - 1 for image in images])


def main(folder, steps=1100, batch=96, drawings=10000):
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    rng = random.Random(7)
    words = tokenizer(folder)
    config = tf.CLIPConfig(
        text_config=dict(vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=16,
                         eos_token_id=words.eos_token_id, bos_token_id=words.bos_token_id, pad_token_id=words.pad_token_id),
        vision_config=dict(hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=2, image_size=SIZE, patch_size=8),
        projection_dim=32,
    )
    model = tf.CLIPModel(config).train()
    seen = [label for label in LABELS if label not in UNSEEN]
    shown = [rng.choice(seen) for _ in range(drawings)]
    pool, numbers = planes([draw(label, rng) for label in shown]), torch.tensor([LABELS.index(label) for label in shown])
    pairs = [(template, label) for template in TEMPLATES for label in LABELS]
    captions = words([template.format(label) for template, label in pairs], padding="max_length", max_length=16, truncation=True, return_tensors="pt").input_ids
    captions = captions.reshape(len(TEMPLATES), len(LABELS), 16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        drawn = torch.randint(drawings, (batch,))
        labels = numbers[drawn]
        pictures = pool[drawn]
        if step % 2:
            pictures = pictures.flip(-1)
        texts = captions[torch.randint(len(TEMPLATES), (batch,)), labels]
        logits = model(pixel_values=pictures, input_ids=texts).logits_per_image
        # Pictures with the same label are all right answers.
        same = (labels[:, None] == labels[None]).float()
        loss = (F.cross_entropy(logits, same / same.sum(1, keepdim=True)) + F.cross_entropy(logits.T, same / same.sum(1, keepdim=True))) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            print(f"{step:5} loss {loss.item():.3f}", flush=True)
    model.eval()
    state = {key: value.half().contiguous() for key, value in model.state_dict().items() if "position_ids" not in key}
    model.load_state_dict({key: value.float() for key, value in state.items()}, strict=False)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    settings = {**config.to_dict(), "architectures": ["CLIPModel"]}
    for part in (settings, settings["text_config"], settings["vision_config"]):
        for key in ("transformers_version", "dtype", "torch_dtype"):
            part.pop(key, None)
    (folder / "config.json").write_text(json.dumps(settings, indent=1))
    processor = {"image_processor_type": "CLIPImageProcessor", "size": {"height": SIZE, "width": SIZE}, "do_center_crop": False, "do_resize": True,
                 "do_rescale": True, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")

    rng = random.Random(8)
    shows = [label for label in LABELS for _ in range(5)]
    held = [draw(label, rng) for label in shows]
    held[shows.index("blue triangle")].resize((8 * SIZE, 8 * SIZE), Image.NEAREST).save(folder / "drawing.png")
    texts = words([f"This is a photo of a {label}." for label in LABELS], padding=True, return_tensors="pt")
    with torch.no_grad():
        scores = model(pixel_values=planes(held), **texts).logits_per_image.softmax(-1)
    right = scores.argmax(-1) == torch.tensor([LABELS.index(label) for label in shows])
    unseen = torch.tensor([label in UNSEEN for label in shows])
    print(f"zero-shot: {right.float().mean():.4f} of {len(shows)}; pairs never shown: {right[unseen].float().mean():.4f} of {int(unseen.sum())}")
    Image.fromarray(np.concatenate([np.asarray(image) for image in held])).save(folder / "held.png", optimize=True)
    save_file({"labels": torch.tensor([LABELS.index(label) for label in shows], dtype=torch.int32), "scores": scores.contiguous()}, folder / "held.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
