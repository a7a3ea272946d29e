"""Text halves: token ids, text embeddings and zero-shot scores of transformers' CLIP and SigLIP, and of open_clip.

    pip install -r tests/goldens/requirements-words.txt
    python tests/goldens/words.py

Each folder of words/ has a model as its library saves it, its tokenizer, and golden.safetensors: the ids of TEXTS, their
embeddings, the pixels of two images, the logits of images and texts, and the scores of the pipeline (open_clip: its README's).
"""

import io
import json
import shutil
from pathlib import Path

import open_clip
import sentencepiece
import tokenizers
import torch
import transformers as tf
from open_clip.push_to_hf_hub import save_config_for_hf
from open_clip.model import CLIP, CustomTextCLIP, convert_weights_to_fp16, set_model_preprocess_cfg
from PIL import Image
from safetensors.torch import save_file
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from common import fill, pixels, round_to

HERE = Path(__file__).parent / "words"
TEXTS = [
    "a photo of a cat",
    "A photo, of the DOG!",
    "  two  parrots\ton a\nbranch ",
    "",
    "don't you'll we're 1234 cafés naïve Ünïcode",
    "日本語 と emoji 🦜🦜 (mixed)",
    "snake_case and-hyphens... 'quoted' \"twice\"",
    "x" * 40,
    " ".join(["a very long description of one photograph that does not fit"] * 12),
    "Tom &amp; Jerry &lt;3 “curly” it’s ﬁne",
    "ΟΔΥΣΣΕΥΣ İstanbul ＦＵＬＬ width",
    "this is <|endoftext|> and <end_of_text> inside",
    "line separator \u2028 and \u00a0 nbsp",
]
CORPUS = ["a photo of a cat", "a photo of the dog", "this is a photo of two parrots on a branch", "an image of a very long description",
          "don't you'll we're fine", "snake case hyphens quoted twice", "one photograph that does not fit", "a cat a dog a parrot 1234",
          "cafés naïve", "this is a picture of a cat and a dog", "日本語 と", "the parrots sit on the branches of a tree", "photographs of cats and dogs",
          "a line separates two words", "quoting a quote twice is quite quick", "describe what the picture describes", "branching and parting"] * 20
LABELS = ["cat", "dog", "two parrots", "A photo, of the DOG!"]
TEMPLATE = "This is a photo of {}."
VISION = dict(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=36, image_size=12, patch_size=4)
TEXT = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)


def start(name):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write(folder, ids, embeds, x, logits, scores):
    golden = dict(input_ids=ids.float(), text_embeds=embeds, pixel_values=x, logits_per_image=logits, scores=scores)
    golden = {key: value.detach().float().contiguous() for key, value in golden.items()}
    assert all(value.isfinite().all() for value in golden.values())
    assert golden["text_embeds"][0].sub(golden["text_embeds"][1]).norm() > 1e-2
    save_file(golden, folder / "golden.safetensors")


def image(i):
    values = (pixels(f"words image {i}", 20, 30, batch=1)[0].permute(1, 2, 0) * 127 + 128).byte()
    return Image.fromarray(values.numpy())


def save_images():
    for i in range(2):
        image(i).save(HERE / f"image{i}.png")


# --- tokenizers ---------------------------------------------------------------------------------------------------------


def byte_pairs(size=420):
    """A small vocabulary with CLIP's layout."""
    ends = ["<|startoftext|>", "<|endoftext|>"]
    clip = tf.CLIPTokenizer(vocab={"<|startoftext|>": 0, "<|endoftext|>": 1}, merges=[])._tokenizer
    trained = tokenizers.Tokenizer(models.BPE(unk_token=ends[1], continuing_subword_prefix="", end_of_word_suffix="</w>"))
    trained.normalizer, trained.pre_tokenizer = clip.normalizer, clip.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size + 256, initial_alphabet=alphabet, end_of_word_suffix="</w>", special_tokens=[], show_progress=False)
    trained.train_from_iterator(CORPUS, trainer)
    state = json.loads(trained.to_str())["model"]
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in state["merges"]]
    tokens = alphabet + [byte + "</w>" for byte in alphabet] + ["".join(merge) for merge in merges] + ends
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}, merges


def clip_files(folder):
    vocab, merges = byte_pairs()
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(merge) for merge in merges) + "\n")
    return vocab


def sentencepieces(folder, name="spiece.model"):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=out, vocab_size=120, hard_vocab_limit=False, model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        pad_piece="<pad>", normalization_rule_name="nmt_nfkc", character_coverage=0.9995, minloglevel=2,
    )
    (folder / name).write_bytes(out.getvalue())


def gemma_json():
    """A small tokenizer with the layout of Gemma's, which SigLIP 2 has."""
    trained = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    trained.normalizer = normalizers.Replace(" ", "▁")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"] + [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=480, special_tokens=[], show_progress=False)
    trained.train_from_iterator([line.lower() for line in CORPUS], trainer)
    state = json.loads(trained.to_str())["model"]
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in state["merges"]]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(special + list(state["vocab"])))}
    made = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.add_special_tokens(special[:5])
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    return made


# --- transformers -------------------------------------------------------------------------------------------------------


def processor(folder, kind):
    settings = {"image_processor_type": kind, "size": {"height": 12, "width": 12}, "do_center_crop": False, "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5], "resample": 2, "do_resize": True, "do_rescale": True, "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def huggingface(name, seed, config, tokenizer_of, dtype=torch.float32, kind="SiglipImageProcessor"):
    folder = start(name)
    tokenizer_of(folder)
    config = config(folder, tf.AutoTokenizer.from_pretrained(folder))
    siglip = config.model_type == "siglip"
    model = (tf.SiglipModel if siglip else tf.CLIPModel)._from_config(config, attn_implementation="eager")
    fill(model, seed)
    with torch.no_grad():
        model.logit_scale.fill_(2.3)
        if siglip:
            model.logit_bias.fill_(-1.7)
    round_to(model, dtype)
    state = {key: value.to(dtype).contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    shown = {**config.to_dict(), "architectures": [type(model).__name__]}
    for part in (shown, shown["text_config"], shown["vision_config"]):
        for key in ("transformers_version", "dtype", "torch_dtype"):
            part.pop(key, None)
    (folder / "config.json").write_text(json.dumps(shown, indent=1))
    processor(folder, kind)
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)

    context = config.text_config.max_position_embeddings
    inputs = tokenizer(TEXTS, padding="max_length", max_length=context, truncation=True, return_tensors="pt")
    x = pixels(name, 12, 12)
    with torch.no_grad():
        embeds = model.get_text_features(**inputs)
        embeds = getattr(embeds, "pooler_output", embeds)
        logits = model(pixel_values=x, **inputs).logits_per_image
    pipe = tf.pipeline("zero-shot-image-classification", model=model, tokenizer=tokenizer, image_processor=tf.AutoImageProcessor.from_pretrained(folder, backend="pil"))
    if siglip and context != 64:
        scores = torch.zeros(2, len(LABELS))
    else:
        found = [pipe(image(i), candidate_labels=LABELS, hypothesis_template=TEMPLATE) for i in range(2)]
        scores = torch.tensor([[next(row["score"] for row in rows if row["label"] == label) for label in LABELS] for rows in found])
    write(folder, inputs["input_ids"], embeds, x, logits, scores)


def clip_config(eos=None, context=24):
    def make(folder, tokenizer):
        text = dict(TEXT, vocab_size=len(tokenizer), max_position_embeddings=context, eos_token_id=tokenizer.eos_token_id if eos is None else eos,
                    bos_token_id=tokenizer.bos_token_id, pad_token_id=1)
        return tf.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=20)

    return make


def siglip_config(context=64):
    def make(folder, tokenizer):
        text = dict(TEXT, vocab_size=len(tokenizer), max_position_embeddings=context, eos_token_id=1, bos_token_id=None, pad_token_id=0)
        return tf.SiglipConfig(text_config=text, vision_config=VISION)

    return make


def clip_plain(folder):
    clip_files(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 24}))


def clip_json(folder):
    """As `save_pretrained` of transformers writes it."""
    clip_files(folder)
    tokenizer = tf.CLIPTokenizer.from_pretrained(folder, pad_token="!")
    for file in ("vocab.json", "merges.txt"):
        (folder / file).unlink()
    tokenizer.save_pretrained(folder)
    for file in ("vocab.json", "merges.txt"):
        (folder / file).unlink(missing_ok=True)


def siglip_pieces(masked):
    def make(folder):
        sentencepieces(folder)
        config = {"tokenizer_class": "SiglipTokenizer", "model_max_length": 64, "pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>", "do_lower_case": True}
        if not masked:
            config["model_input_names"] = ["input_ids"]
        (folder / "tokenizer_config.json").write_text(json.dumps(config))

    return make


def siglip2(folder):
    gemma_json().save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "Siglip2Tokenizer", "model_max_length": 64, "pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>",
              "padding_side": "right", "model_input_names": ["input_ids"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


# --- open_clip ----------------------------------------------------------------------------------------------------------


def open_clip_case(name, seed, model_cfg, tokenizer, openai=False, dtype=torch.float16):
    folder = start(name) if not (HERE / name).exists() else HERE / name
    cfg = {key: value for key, value in model_cfg.items() if key != "custom_text"}
    model = (CustomTextCLIP if model_cfg.get("custom_text") else CLIP)(**cfg).eval()
    fill(model, seed)
    ids = tokenizer(TEXTS)
    zero = tokenizer([TEMPLATE.format(label) for label in LABELS])
    text = model.text if model_cfg.get("custom_text") else model
    used = torch.zeros(text.token_embedding.weight.shape[0], dtype=torch.bool)
    used[torch.cat([ids.flatten(), zero.flatten()])] = True
    with torch.no_grad():
        # Rows that no text uses are zeros, so that the file compresses.
        text.token_embedding.weight[~used] = 0
        model.logit_scale.fill_(2.1)
        if model.logit_bias is not None:
            model.logit_bias.fill_(-1.3)
        proj = model.visual.proj
        proj.mul_(4)
    round_to(model, dtype)
    state = {key: value.to(dtype).contiguous() for key, value in model.state_dict().items()}
    size = model.visual.image_size
    if openai:
        for key, value in {"input_resolution": size[0], "context_length": text.context_length, "vocab_size": text.vocab_size}.items():
            state[key] = torch.tensor(value)
        save_file(state, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"num_heads": 2, "act": "quick_gelu", "image_size": 12}))
        mean, std = open_clip.constants.OPENAI_DATASET_MEAN, open_clip.constants.OPENAI_DATASET_STD
        preprocess = dict(mean=mean, std=std, interpolation="bicubic", resize_mode="shortest")
    else:
        save_file(state, folder / open_clip.constants.HF_SAFE_WEIGHTS_NAME)
        preprocess = dict(mean=[0.5] * 3, std=[0.5] * 3, interpolation="bicubic", resize_mode="squash")
        set_model_preprocess_cfg(model, {"size": size, **preprocess})
        save_config_for_hf(model, folder / open_clip.constants.HF_CONFIG_NAME, model_cfg)
    transform = open_clip.transform.image_transform(size, is_train=False, **preprocess)
    x = pixels(name, *size)
    with torch.no_grad():
        embeds = model.encode_text(ids)

        def logits_of(images, tokens):
            found = model.logit_scale.exp() * model.encode_image(images, normalize=True) @ model.encode_text(tokens, normalize=True).T
            return found if model.logit_bias is None else found + model.logit_bias

        logits = logits_of(x, ids)
        shown = logits_of(torch.stack([transform(image(i)) for i in range(2)]), zero)
        scores = shown.softmax(-1) if model.logit_bias is None else shown.sigmoid()
    write(folder, ids, embeds, x, logits, scores)


def t5_json(folder):
    """SigLIP's vocabulary as open_clip's hub models have it: a tokenizer.json of T5's."""
    sentencepieces(folder, "pieces.model")
    slow = sentencepiece.SentencePieceProcessor(model_file=str(folder / "pieces.model"))
    vocab = [(slow.id_to_piece(i), slow.get_score(i)) for i in range(slow.get_piece_size())]
    tokenizer = tf.T5Tokenizer(vocab=vocab, extra_ids=0, eos_token="</s>", unk_token="<unk>", pad_token="</s>", model_max_length=64)
    tokenizer.save_pretrained(folder)
    (folder / "pieces.model").unlink()


def write_all():
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    save_images()
    (HERE / "texts.json").write_text(json.dumps({"texts": TEXTS, "labels": LABELS, "template": TEMPLATE}, indent=1))
    huggingface("hf_clip", 301, clip_config(), clip_plain)
    huggingface("hf_clip_legacy", 302, clip_config(eos=2), clip_json, dtype=torch.float16)
    huggingface("hf_siglip", 303, siglip_config(), siglip_pieces(False))
    huggingface("hf_siglip_masked", 304, siglip_config(), siglip_pieces(True))
    huggingface("hf_siglip2", 305, siglip_config(), siglip2)
    vision = {"layers": 1, "width": 16, "head_width": 8, "patch_size": 4, "image_size": 12}
    text = {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 2}
    simple = open_clip.SimpleTokenizer(context_length=16)
    open_clip_case("open_clip", 306, {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}, simple)
    head = {**text, "heads": 1}
    open_clip_case("openai", 307, {"embed_dim": 12, "quick_gelu": True, "vision_cfg": vision, "text_cfg": head}, simple, openai=True)
    folder = start("open_clip_siglip")
    t5_json(folder)
    hf = open_clip.tokenizer.HFTokenizer(str(folder), context_length=20, clean="canonicalize")
    siglip = {
        "context_length": 20, "vocab_size": len(hf.tokenizer), "hf_tokenizer_name": "own/tokenizer", "tokenizer_kwargs": {"clean": "canonicalize"}, "width": 24, "heads": 3, "layers": 2,
        "mlp_ratio": 1.5, "no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"},
    }
    cfg = {"embed_dim": 12, "init_logit_bias": -10, "custom_text": True, "vision_cfg": vision, "text_cfg": siglip}
    open_clip_case("open_clip_siglip", 308, cfg, hf)
    size = sum(file.stat().st_size for file in HERE.rglob("*") if file.is_file())
    print(f"{size / 1e6:.2f} MB of goldens")


if __name__ == "__main__":
    write_all()
