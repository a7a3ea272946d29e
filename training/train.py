"""Trains the small ViT that vit-gpu carries: packs of images in, a folder that timm and vit-gpu load out.

    python training/train.py pack FOLDER OUT.pack
    python training/train.py train PACK… --preset tiny-imagenet --minutes 18 --teacher-minutes 5 --state DIR --out DIR
    python training/train.py export --state DIR --out DIR
"""

import argparse
import os
import sys
from pathlib import Path

import clock  # noqa: F401 (first: it notes the process's beginning)
import torch

import data
import export
import loop
import models
import packing
import state
from fault import Fault
from presets import PRESETS

RECIPE = {
    "student": ("patch_size", "width", "depth", "heads", "mlp_ratio", "drop_path"),
    "optimisation": ("batch_size", "lr", "warmup", "min_lr", "weight_decay", "clip", "ema", "smoothing"),
    "augmentation": ("ops", "magnitude", "min_area", "shift", "erase", "mixup", "cutmix", "mix_prob", "mix_off"),
    "distillation": ("distill_weight", "temperature"),
    "teacher": ("width", "batch_size", "lr", "clip", "weight_decay", "smoothing", "mix_prob", "ema"),
}


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="train.py", description=__doc__.splitlines()[0])
    commands = top.add_subparsers(dest="command", required=True)
    workers = {"type": count, "default": os.cpu_count() or 1, "help": "threads that code images"}

    pack = commands.add_parser("pack", help="an image folder into one small file, or a few")
    pack.add_argument("folder", type=Path)
    pack.add_argument("out", type=Path)
    pack.add_argument("--parts", type=count, default=1, help="files to split into: OUT-1, OUT-2 …")
    pack.add_argument("--max-mb", type=positive, default=44, help="a file's size at most, in millions of bytes (44)")
    pack.add_argument("--size", type=count, help="side of the images in pixels (that of the first)")
    pack.add_argument("--held-out", help="the split to measure on (`test`, or `val`)")
    pack.add_argument("--seed", type=int, default=0)
    pack.add_argument("--workers", **workers)
    pack.set_defaults(run=run_pack)

    train = commands.add_parser("train", help="the student, after a teacher where one is asked for")
    train.add_argument("packs", type=Path, nargs="+", metavar="PACK")
    train.add_argument("--preset", choices=PRESETS, required=True)
    train.add_argument("--state", type=Path, required=True, help="checkpoints; the same command goes on from them")
    train.add_argument("--out", type=Path, help="log.jsonl and, as training goes, the exported weights")
    length = train.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=positive, help="wall time of all calls together, teacher and set-up included")
    length.add_argument("--epochs", type=positive, help="instead of a time")
    share = train.add_mutually_exclusive_group()
    share.add_argument("--teacher-minutes", type=positive, help="of --minutes, for a teacher to learn from")
    share.add_argument("--teacher-epochs", type=positive)
    train.add_argument("--stop-after-minutes", type=positive, help="end this call then, with everything saved")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--limit", type=count, help="training images to use")
    train.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … (auto)")
    train.add_argument("--amp", choices=("auto", "bf16", "off"), default="auto", help="bf16 autocast (auto: on CUDA)")
    train.add_argument("--compile", action=argparse.BooleanOptionalAction, help="torch.compile (on CUDA)")
    train.add_argument("--eval-every", type=positive, default=20, metavar="SECONDS")
    train.add_argument("--save-every", type=positive, default=60, metavar="SECONDS")
    train.add_argument("--workers", **workers)
    for group, options in RECIPE.items():
        section = train.add_argument_group(f"{group} (by default the preset's)")
        for option in options:
            option = f"teacher_{option}" if group == "teacher" else option
            kind = count if isinstance(PRESETS["cifar10"][option], int) else float
            section.add_argument("--" + option.replace("_", "-"), type=kind)
    train.set_defaults(run=run_train)

    write = commands.add_parser("export", help="a checkpoint's EMA weights as config.json, model.safetensors, training.json")
    write.add_argument("--state", type=Path, required=True)
    write.add_argument("--out", type=Path, required=True)
    write.set_defaults(run=run_export)
    return top


def device_of(name: str) -> torch.device:
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise Fault(f"--device {name}: {str(error).splitlines()[0]}") from None
    return device


def run_pack(args) -> None:
    packing.pack(args.folder, args.out, args.size, args.parts, args.max_mb, args.held_out, args.seed, args.workers)


def resolved(args) -> torch.device:
    """Fills in the preset and what depends on the device."""
    for option, value in PRESETS[args.preset].items():
        if getattr(args, option) is None:
            setattr(args, option, value)
    device = device_of(args.device)
    if args.amp == "auto":
        args.amp = "bf16" if device.type == "cuda" else "off"
    if args.compile is None:
        args.compile = device.type == "cuda"
    if args.teacher_minutes and args.minutes is None:
        raise Fault("--teacher-minutes is a share of --minutes: give that, or --teacher-epochs")
    if args.teacher_minutes and args.teacher_minutes >= args.minutes:
        raise Fault(f"--teacher-minutes {args.teacher_minutes} leaves nothing of --minutes {args.minutes}")
    return device


def run_train(args) -> None:
    device = resolved(args)
    saved = state.State(args.state)
    dataset = data.load(args.packs, args.limit, device, args.workers)
    saved.check(state.recipe(args), dataset.about)
    about = dataset.about
    print(
        f"{about['name']}: {about['train_images']} training and {about['test_images']} `{about['held_out']}` images of "
        f"{about['image_size']} px in {dataset.classes} classes, on {loop.device_name(device)}, "
        f"ready after {saved.elapsed() - saved.spent:.0f} s" + (f"; {saved.spent:.0f} s spent before" if saved.spent else ""),
        flush=True,
    )
    torch.backends.cudnn.benchmark = True
    stop = args.stop_after_minutes and 60 * args.stop_after_minutes
    seconds = args.minutes and 60 * args.minutes
    teacher = None
    if args.teacher_minutes or args.teacher_epochs:
        teacher = saved.phases["teacher"]
        if not (teacher and teacher["done"]):
            end = args.teacher_minutes and 60 * args.teacher_minutes
            teacher = loop.Phase("teacher", args, dataset, saved, end, args.teacher_epochs).run(stop)
        if teacher is None:
            print(f"stopped after {args.stop_after_minutes} minutes as asked; the same command goes on", flush=True)
            return
        print(f"teacher: {100 * teacher['accuracy']:.2f} % of `{about['held_out']}` right", flush=True)
        weights = teacher["ema"]
        teacher = models.teacher(dataset.classes, about["image_size"], args.teacher_width)
        teacher.load_state_dict(weights)
        teacher.to(device).eval().requires_grad_(False)
    phase = saved.phases["student"]
    if not (phase and phase["done"]):
        phase = loop.Phase("student", args, dataset, saved, seconds, args.epochs, teacher).run(stop)
    if phase is None:
        print(f"stopped after {args.stop_after_minutes} minutes as asked; the same command goes on", flush=True)
        return
    if args.out is not None:
        export.write(phase, args.out)
    print(
        f"done after {phase['elapsed'] / 60:.1f} minutes and {phase['images']:,} images: {100 * phase['accuracy']:.2f} % of "
        f"`{about['held_out']}` right with the f16 weights" + (f", in {args.out}" if args.out else ""),
        flush=True,
    )


def run_export(args) -> None:
    phase = state.State(args.state).phases["student"]
    if phase is None:
        raise Fault(f"{args.state}: no student.pt in it")
    export.write(phase, args.out)
    measured = f"{100 * phase['accuracy']:.2f} % of `{phase['about']['held_out']}` right"
    print(f"{args.out}: step {phase['step']}, {measured} when it was saved")


def main() -> int:
    args = parser().parse_args()
    try:
        args.run(args)
    except Fault as fault:
        print(f"train.py: error: {fault}", file=sys.stderr)
        return 2
    except torch.OutOfMemoryError:
        print("train.py: error: the device is out of memory: lower --batch-size or --teacher-batch-size", file=sys.stderr)
        return 2
    except (OSError, MemoryError) as error:
        print(f"train.py: error: {error or 'out of memory'}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("train.py: interrupted; the last checkpoint stays", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
