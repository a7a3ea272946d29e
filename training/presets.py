"""Recipes by data set: what `--preset` fills in where the command line says nothing."""

COMMON = {
    "mlp_ratio": 4.0,
    "drop_path": 0.05,
    "warmup": 0.05,
    "min_lr": 0.01,
    "weight_decay": 0.05,
    "clip": 1.0,
    "ema": 0.999,
    "smoothing": 0.1,
    "ops": 2.0,
    "magnitude": 0.5,
    "erase": 0.25,
    "mixup": 0.8,
    "cutmix": 1.0,
    "mix_prob": 0.8,
    "mix_off": 0.05,
    "distill_weight": 0.8,
    "temperature": 2.0,
    "teacher_batch_size": 512,
    "teacher_lr": 0.2,
    "teacher_clip": 5.0,
    "teacher_weight_decay": 5e-4,
    "teacher_smoothing": 0.0,
    "teacher_mix_prob": 0.5,
    "teacher_ema": 0.998,
}

PRESETS = {
    # 4.5 million parameters, 9.0 MB in f16.
    "cifar10": COMMON
    | {"patch_size": 4, "width": 192, "depth": 10, "heads": 3, "batch_size": 512, "lr": 1e-3}
    | {"min_area": 0.5, "shift": 0.125, "teacher_width": 128},
    # 4.5 million parameters, 9.1 MB in f16.
    "tiny-imagenet": COMMON
    | {"patch_size": 8, "width": 192, "depth": 10, "heads": 3, "batch_size": 1024, "lr": 1.5e-3}
    | {"min_area": 0.35, "shift": 0.0625, "teacher_width": 160},
}

# What a teacher does not depend on: a run may begin its student again with other values, beside the teacher it has.
STUDENT_ONLY = {
    "patch_size", "width", "depth", "heads", "mlp_ratio", "drop_path", "batch_size", "lr", "clip", "weight_decay", "ema",
    "smoothing", "mix_prob", "distill_weight", "temperature", "minutes", "epochs",
}
