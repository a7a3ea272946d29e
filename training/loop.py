"""The training loop that teacher and student share: schedule by time or epochs, EMA, measuring, checkpoints."""

import copy
import json
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import augment
import clock
import export
import models
import state
from augment import Augment
from data import Batches, Dataset
from fault import Fault

# Steps between looks at the loss, each of which waits for the device.
LOOK_EVERY = 50


def cosine(progress: float, warmup: float, low: float) -> float:
    """Factor of the learning rate at `progress` 0 to 1: linear up over `warmup`, half a cosine down to `low`."""
    if progress < warmup:
        return max(progress / warmup, 1e-3)
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))


class Ema:
    """Running mean of every weight and statistic; early on the window is a tenth of the steps so far."""

    def __init__(self, model: nn.Module, decay: float):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        pairs = [(mine, theirs) for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values())]
        self.floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self.others = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_([mine for mine, _ in self.floats], [theirs for _, theirs in self.floats], 1 - decay)
        for mine, theirs in self.others:
            mine.copy_(theirs)


def hard_loss(logits: Tensor, labels: Tensor, keep: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of logits (B, K) with labels mixed with the next image's, smoothed (arXiv:1512.00567)."""
    log_p = F.log_softmax(logits.float(), 1)
    own = -log_p.gather(1, labels[:, None])[:, 0]
    other = -log_p.gather(1, labels.roll(-1)[:, None])[:, 0]
    return ((1 - smoothing) * (keep * own + (1 - keep) * other) - smoothing * log_p.mean(1)).mean()


def soft_loss(logits: Tensor, target: Tensor, temperature: float) -> Tensor:
    """KL divergence from the teacher's softened classes (arXiv:1503.02531), times T² so that gradients keep their size."""
    log_p, log_q = F.log_softmax(logits.float() / temperature, 1), F.log_softmax(target.float() / temperature, 1)
    return F.kl_div(log_p, log_q, reduction="batchmean", log_target=True) * temperature**2


def optimizer(kind: str, model: nn.Module, lr: float, weight_decay: float, device: torch.device) -> torch.optim.Optimizer:
    """AdamW for the student, SGD with Nesterov momentum for the teacher; no decay of biases, norms and positions."""
    decays = {name: parameter.ndim > 1 and "pos_embed" not in name for name, parameter in model.named_parameters()}
    groups = [
        {"params": [p for name, p in model.named_parameters() if decays[name]], "weight_decay": weight_decay},
        {"params": [p for name, p in model.named_parameters() if not decays[name]], "weight_decay": 0.0},
    ]
    if kind == "teacher":
        return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), fused=device.type == "cuda")


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


class Phase:
    """The training of one network, teacher or student, up to `end` (seconds of the run) or `epochs`."""

    def __init__(
        self, name: str, args, data: Dataset, saved: state.State, end: float | None, epochs: float | None, teacher=None
    ):
        self.name, self.args, self.data, self.saved = name, args, data, saved
        self.end, self.epochs, self.teacher = end, epochs, teacher
        self.device = data.train.device

        def own(option: str):
            return getattr(args, f"teacher_{option}" if name == "teacher" else option)

        self.lr, self.smoothing, self.clip = own("lr"), own("smoothing"), own("clip")
        self.batches = Batches(data, own("batch_size"), args.seed + (name == "teacher"))
        self.augment = Augment(
            args.ops, args.magnitude, args.min_area, args.shift, args.erase, args.mixup, args.cutmix, own("mix_prob")
        )
        torch.manual_seed(args.seed + (name == "teacher"))
        size = data.about["image_size"]
        if name == "teacher":
            self.model_args = {"width": args.teacher_width}
            self.model = models.teacher(data.classes, size, args.teacher_width)
        else:
            self.model_args = models.student_args(args, size)
            self.model = models.student(self.model_args, data.classes, args.drop_path)
        self.model.to(self.device).train()
        self.optimizer = optimizer(name, self.model, self.lr, own("weight_decay"), self.device)
        self.ema = Ema(self.model, own("ema"))
        self.step, self.begun, self.measured_s, self.accuracy = 0, None, 0.0, None
        self.mean, self.std = export.normalisation(data)
        self.amp = torch.autocast(self.device.type, torch.bfloat16, enabled=args.amp == "bf16")
        if saved.phases[name] is not None:
            self.restore(saved.phases[name])
        print(
            f"{name}: {models.parameters(self.model):,} parameters, "
            f"{self.batches.steps} steps of {self.batches.batch_size} an epoch",
            flush=True,
        )

    def restore(self, phase: dict) -> None:
        self.model.load_state_dict(phase["model"])
        self.ema.model.load_state_dict(phase["ema"])
        self.optimizer.load_state_dict(phase["optimizer"])
        self.step, self.begun, self.measured_s = phase["step"], phase["begun"], phase["measured_s"]
        self.accuracy = phase["accuracy"]
        state.restore_rng(phase["rng"], self.device)

    def checkpoint(self, done: bool = False) -> dict:
        """Saves everything the phase needs to go on, and returns it."""
        arguments = state.recipe(self.args)
        teacher = self.saved.phases["teacher"] if self.name == "student" else None
        phase = {
            "phase": self.name,
            "done": done,
            "elapsed": self.saved.elapsed(),
            "begun": self.begun,
            "step": self.step,
            "images": self.step * self.batches.batch_size,
            "measured_s": self.measured_s,
            "accuracy": self.accuracy,
            "model": {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()},
            "ema": {name: tensor.detach().clone() for name, tensor in self.ema.model.state_dict().items()},
            "optimizer": self.optimizer.state_dict(),
            "rng": state.rng(self.device),
            "recipe": arguments,
            "recipe_sha256": state.recipe_sha256(arguments),
            "model_args": self.model_args,
            "about": self.data.about,
            "device": device_name(self.device),
            "teacher": teacher and {name: teacher[name] for name in ("accuracy", "images", "model_args")},
        }
        self.saved.save(self.name, phase)
        return phase

    def progress(self) -> float:
        """0 to 1 over the phase's time, less what measuring and writing at the end need, or over its epochs."""
        if self.epochs is not None:
            return self.step / max(1, round(self.epochs * self.batches.steps))
        elapsed = self.saved.elapsed()
        return (elapsed - self.begun) / max(1e-9, self.end - self.reserve() - self.begun)

    def reserve(self) -> float:
        """Seconds the last measurement and the last checkpoint are given."""
        return 1.5 * self.measured_s + 3

    def forward_loss(self, images: Tensor, labels: Tensor, keep: Tensor) -> Tensor:
        with self.amp:
            logits = self.forward(images)
            if self.teacher is not None:
                with torch.no_grad():
                    target = self.teacher(images.contiguous(memory_format=torch.channels_last))
        loss = hard_loss(logits, labels, keep, self.smoothing)
        if self.teacher is None:
            return loss
        weight = self.args.distill_weight
        return (1 - weight) * loss + weight * soft_loss(logits, target, self.args.temperature)

    def batch(self, progress: float) -> tuple[Tensor, Tensor, Tensor]:
        raw, labels = self.batches[self.step]
        images, keep = augment.batch(raw, self.augment, self.mean, self.std, progress < 1 - self.args.mix_off)
        if self.name == "teacher":
            images = images.contiguous(memory_format=torch.channels_last)
        return images, labels, keep

    def prepare(self) -> None:
        """One step whose result is dropped: compiles, or falls back to plain PyTorch and says so. Not part of the schedule."""
        self.forward = self.model
        before, random = copy.deepcopy(self.model.state_dict()), state.rng(self.device)
        if self.args.compile:
            plain_teacher = self.teacher
            try:
                self.forward = torch.compile(self.model)
                if plain_teacher is not None:
                    self.teacher = torch.compile(plain_teacher)
                self.forward_loss(*self.batch(0.0)).backward()
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
                print(f"torch.compile failed, going on without ({first})", flush=True)
                torch._dynamo.reset()
                self.forward, self.teacher = self.model, plain_teacher
        else:
            self.forward_loss(*self.batch(0.0)).backward()
        self.optimizer.zero_grad(set_to_none=True)
        self.model.load_state_dict(before)
        state.restore_rng(random, self.device)

    def train_step(self, progress: float) -> Tensor:
        factor = cosine(progress, self.args.warmup, self.args.min_lr)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * factor
        loss = self.forward_loss(*self.batch(progress))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.ema.update(self.step)
        return loss.detach()

    def measure(self) -> None:
        begun = time.monotonic()
        self.accuracy = export.accuracy(self.ema.model, self.data)
        self.measured_s = time.monotonic() - begun

    def estimate_measuring(self) -> None:
        """How long measuring will take, from a second batch: a device's first is slow."""
        for _ in range(2):
            begun = time.monotonic()
            export.accuracy(self.ema.model, self.data, 1000, batches=1)
        self.measured_s = (time.monotonic() - begun) * max(1, len(self.data.test) / 1000)

    def log(self, out: Path | None, loss: float, rate: float, progress: float) -> None:
        elapsed = self.saved.elapsed()
        line = {
            "phase": self.name,
            "seconds": round(elapsed, 1),
            "progress": round(min(1.0, progress), 4),
            "epoch": round(self.step / self.batches.steps, 2),
            "step": self.step,
            "images_per_s": round(rate),
            "loss": round(loss, 4),
            "lr": self.optimizer.param_groups[0]["lr"],
            "test_accuracy": self.accuracy,
        }
        print(
            f"{self.name} {int(elapsed) // 60:02}:{int(elapsed) % 60:02}  epoch {line['epoch']:7.2f}  "
            f"{100 * line['progress']:5.1f} %  {rate:8.0f} images/s  lr {line['lr']:.2e}  loss {loss:.4f}  "
            f"{self.data.about['held_out']} {100 * self.accuracy:.2f} %",
            flush=True,
        )
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            with open(out / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def run(self, stop: float | None) -> dict | None:
        """Trains to the end and returns the last checkpoint, or None where `stop` (seconds of this process) came first."""
        args = self.args
        out = args.out
        self.prepare()
        self.estimate_measuring()
        if self.begun is None:
            self.begun = self.saved.elapsed()
        total, since = torch.zeros((), device=self.device), self.step
        evaluated = saved_at = last = time.monotonic()
        while True:
            progress = self.progress()
            stopped = stop is not None and clock.running() >= stop - self.reserve()
            finished = progress >= 1
            ending = finished or stopped
            if finished and self.step == 0:
                raise Fault(f"the time is over before the {self.name}'s first step: give more minutes")
            if not ending:
                total += self.train_step(progress)
            now = time.monotonic()
            looked = ending or self.step % LOOK_EVERY == 0
            due = ending or now - evaluated >= args.eval_every
            if (looked or due) and not math.isfinite(mean := float(total) / max(1, self.step - since)):
                reached = f"the loss is {mean} at step {self.step}"
                raise Fault(f"{self.name}: {reached}: lower the learning rate; the last checkpoint stays")
            if due and (self.step > since or self.accuracy is None):
                now = time.monotonic()
                rate = (self.step - since) * self.batches.batch_size / max(1e-9, now - last)
                self.measure()
                self.log(out, mean, rate, progress)
                total, since = torch.zeros((), device=self.device), self.step
                evaluated = last = time.monotonic()
            if due and (ending or now - saved_at >= args.save_every):
                phase = self.checkpoint(done=finished)
                if self.name == "student" and out is not None:
                    export.write(phase, out)
                saved_at = last = time.monotonic()
            if finished:
                return phase
            if stopped:
                return None
