"""Runs one ViT with the same weights in several engines, in turn on the same machine, and prints one table of ratios.

    python benches/peers/peers.py --vit-gpu target/release/vit-gpu --device gpu --batch-size 1,8 --output peers.json

Engines: this crate (the processor in f32 and i8, the GPU in f32 and f16), onnxruntime (processor in f32 and with its dynamic 8 bits, WebGPU),
OpenVINO (processor in f32, and in 8 bits by NNCF with the images as its calibration), PyTorch (processor; CUDA in f32
without TF32, f16 eager with SDPA, f16 under torch.compile), and on the processor candle and tract, built before with
`cargo build --release --manifest-path benches/peers/rust/Cargo.toml`. What is not there, or finds no device, is left out and said so.
Every engine's logits are compared with PyTorch's f32 on the processor before it is timed. `requirements.txt` pins versions.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens"))
import hashed

ARCH = "vit_base_patch16_224"  # until --arch names another
IMAGE = (3, 224, 224)


def model():
    """timm's ViT-B/16 with the weights of `random:vit_base_patch16_224@0`."""
    import timm
    import torch

    net = timm.create_model(ARCH, pretrained=False).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(torch.from_numpy(hashed.timm_weight(name, tuple(parameter.shape), 0)))
    return net


def pixels(batch):
    return hashed.hashed("peers", batch * int(np.prod(IMAGE))).reshape(batch, *IMAGE).astype(np.float32)


def seconds(run, runs, wait=lambda: None):
    """Times of `runs` warm calls."""
    for _ in range(2):
        run()
    wait()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - start)
    return times


class Torch:
    def __init__(self, device, half=False, compiled=False):
        import torch

        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self.torch, self.device, self.half = torch, device, half
        self.net = model().to(device)
        if half:
            self.net = self.net.half()
        self.call = torch.compile(self.net, mode="max-autotune") if compiled else self.net

    def version(self):
        return f"torch {self.torch.__version__}"

    def prepare(self, x):
        x = self.torch.from_numpy(x).to(self.device)
        return x.half() if self.half else x

    def run(self, x):
        with self.torch.inference_mode():
            return self.call(x)

    def wait(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def logits(self, x):
        return self.run(x).float().cpu().numpy()


class Onnx:
    def __init__(self, provider, path):
        import onnxruntime

        if provider not in onnxruntime.get_available_providers():
            raise RuntimeError(f"onnxruntime has no {provider}")
        options = onnxruntime.SessionOptions()
        # By itself it counts the machine's cores, also those that this process may not use.
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        self.session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        # Without an adapter it runs on the processor without a word.
        if self.session.get_providers()[0] != provider:
            raise RuntimeError(f"onnxruntime runs on {self.session.get_providers()[0]} instead")
        self.name = onnxruntime.__version__

    def version(self):
        return f"onnxruntime {self.name}"

    def prepare(self, x):
        return x

    def run(self, x):
        return self.session.run(None, {"x": x})[0]

    def wait(self):
        pass

    logits = run


def onnx_in_8_bits(path):
    """onnxruntime's dynamic quantisation of a model: weights by channel, activations as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    small = path.with_name("model-8.onnx")
    quantize_dynamic(path, small, weight_type=QuantType.QInt8, per_channel=True)
    return small


class OpenVino:
    def __init__(self, path, eight=False):
        import openvino

        core = openvino.Core()
        model = core.read_model(path)
        if eight:
            import nncf

            images = nncf.Dataset([pixels(1)] + [pixels(2)[1:]])
            model = nncf.quantize(model, images, model_type=nncf.ModelType.TRANSFORMER, subset_size=2)
        # The machine's own precision would be bfloat16 where it has instructions for it.
        hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        self.request = core.compile_model(model, "CPU", hints).create_infer_request()
        self.name = openvino.__version__.split("-")[0]

    def version(self):
        return f"openvino {self.name}"

    def prepare(self, x):
        return x

    def run(self, x):
        return next(iter(self.request.infer({0: x}).values()))

    def wait(self):
        pass

    def logits(self, x):
        return np.array(self.run(x))


class Rust:
    """An engine of `rust/`, which times itself; the logits of its last run come back through a file."""

    def __init__(self, program, engine, path):
        self.program, self.engine, self.path = program, engine, path
        lock = (pathlib.Path(__file__).parent / "rust" / "Cargo.lock").read_text()
        package = {"candle": "candle-transformers", "tract": "tract-onnx"}[engine]
        self.number = lock.split(f'name = "{package}"\nversion = "')[1].split('"')[0]

    def version(self):
        return f"{self.engine} {self.number}"

    def times(self, x, runs):
        from safetensors.numpy import load_file, save_file

        with tempfile.TemporaryDirectory() as folder:
            given, taken = f"{folder}/x.safetensors", f"{folder}/y.safetensors"
            save_file({"pixel_values": x}, given)
            command = [self.program, self.engine, "--model", str(self.path), "--input", given, "--output", taken]
            command += ["--runs", str(runs), "--threads", str(len(os.sched_getaffinity(0)))]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(done.stderr.strip().splitlines()[-1])
            return json.loads(done.stdout)["seconds"], load_file(taken)["logits"]

    def logits(self, x):
        return self.times(x, 1)[1]

    def bench(self, batch, runs):
        return {"median_ms": 1e3 * statistics.median(self.times(pixels(batch), runs)[0]), "device": "cpu"}


def transformers_file(path):
    """The same weights under transformers' names, which candle reads."""
    from safetensors.torch import save_file

    names = {"norm1": "layernorm_before", "norm2": "layernorm_after", "attn.proj": "attention.output.dense"}
    names |= {"mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}
    tops = {"cls_token": "vit.embeddings.cls_token", "pos_embed": "vit.embeddings.position_embeddings"}
    tops |= {"patch_embed.proj": "vit.embeddings.patch_embeddings.projection", "norm": "vit.layernorm", "head": "classifier"}
    tensors = {}
    for name, value in model().state_dict().items():
        stem, _, kind = name.rpartition(".")
        if not stem.startswith("blocks."):
            tensors[tops[name] if name in tops else f"{tops[stem]}.{kind}"] = value
            continue
        _, layer, part = stem.split(".", 2)
        layer = f"vit.encoder.layer.{layer}"
        if part == "attn.qkv":
            for each, rows in zip(("query", "key", "value"), value.chunk(3)):
                tensors[f"{layer}.attention.attention.{each}.{kind}"] = rows.contiguous()
        else:
            tensors[f"{layer}.{names[part]}.{kind}"] = value
    save_file(tensors, path)


def export(path):
    import torch

    net = model()
    for module in net.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    x = torch.from_numpy(pixels(1))
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    torch.onnx.export(net, x, path, input_names=["x"], output_names=["y"], opset_version=17, dynamo=False, dynamic_axes=axes)


class VitGpu:
    """The program by itself: its bench times warm runs from bytes to classes, uploads and readback included."""

    def __init__(self, program, device, precision):
        self.program, self.device, self.precision = program, device, precision

    def version(self):
        return subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True).stdout.strip()

    def arguments(self):
        return ["--model", f"random:{ARCH}@0", "--device", self.device, "--precision", self.precision, "-q"]

    def logits(self, x):
        from safetensors.numpy import load_file, save_file

        with tempfile.TemporaryDirectory() as folder:
            given, taken = f"{folder}/x.safetensors", f"{folder}/y.safetensors"
            save_file({"pixel_values": x}, given)
            command = [self.program, "forward", "--input", given, "--output", taken, *self.arguments()]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(done.stderr.strip().splitlines()[-1])
            return load_file(taken)["logits"]

    def bench(self, batch, runs):
        command = [self.program, "bench", "--batch-size", str(batch), "--runs", str(runs), "-f", "json", *self.arguments()]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return json.loads(done.stdout)["results"][0]


def engines(args, onnx):
    yield "vit-gpu cpu f32", lambda: VitGpu(args.vit_gpu, "cpu", "f32"), 1e-4
    yield "vit-gpu cpu i8", lambda: VitGpu(args.vit_gpu, "cpu", "i8"), 2e-2
    for precision in args.precision.split(",") if args.device != "cpu" else []:
        limit = 1e-4 if precision == "f32" else 1e-2
        yield f"vit-gpu {args.device} {precision}", lambda p=precision: VitGpu(args.vit_gpu, args.device, p), limit
    yield "onnxruntime cpu f32", lambda: Onnx("CPUExecutionProvider", onnx), 1e-4
    yield "onnxruntime webgpu f32", lambda: Onnx("WebGpuExecutionProvider", onnx), 1e-3
    yield "onnxruntime cpu i8", lambda: Onnx("CPUExecutionProvider", onnx_in_8_bits(onnx)), 1e-1
    yield "openvino cpu f32", lambda: OpenVino(onnx), 1e-4
    yield "openvino cpu i8", lambda: OpenVino(onnx, eight=True), 1e-1
    yield "candle cpu f32", lambda: Rust(args.rust, "candle", onnx.with_suffix(".safetensors")), 1e-4
    yield "tract cpu f32", lambda: Rust(args.rust, "tract", onnx), 1e-4
    yield "torch cpu f32", lambda: Torch("cpu"), 1e-4
    yield "torch cuda f32", lambda: cuda(), 1e-3
    yield "torch cuda f16 eager", lambda: cuda(half=True), 1e-2
    yield "torch cuda f16 compile", lambda: cuda(half=True, compiled=True), 1e-2


def cuda(**options):
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("torch has no CUDA device")
    return Torch("cuda", **options)


def timed(name, engine, batch, runs):
    """Median seconds of warm runs, and the device's name."""
    if isinstance(engine, VitGpu | Rust):
        result = engine.bench(batch, runs)
        median, device = result["median_ms"] / 1e3, result["device"]
    else:
        x = engine.prepare(pixels(batch))
        median, device = statistics.median(seconds(lambda: engine.run(x), runs, engine.wait)), name.split()[1]
    print(f"{name:<26} batch {batch:>4} {1e3 * median:>10.2f} ms", file=sys.stderr)
    return median, device


def distance(got, want):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def main():
    global ARCH
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vit-gpu", default="target/release/vit-gpu")
    parser.add_argument("--rust", default="benches/peers/rust/target/release/vit-peers")
    parser.add_argument("--arch", default=ARCH, help="timm's name of the model; candle runs ViT-B/16 alone")
    parser.add_argument("--device", default="gpu", help="what vit-gpu calls the GPU")
    parser.add_argument("--precision", default="f32,f16")
    parser.add_argument("--batch-size", default="1,8")
    parser.add_argument("--rounds", type=int, default=3, help="turns each engine has; the median of their medians is shown")
    parser.add_argument("--runs", type=int, default=10, help="timed runs of a turn")
    parser.add_argument("--only", default="", help="engines whose name contains one of these, separated by commas")
    parser.add_argument("--output", help="JSON file")
    args = parser.parse_args()
    ARCH = args.arch

    with tempfile.TemporaryDirectory() as folder:
        onnx = pathlib.Path(folder) / "model.onnx"
        only = [part for part in args.only.split(",") if part]
        chosen = [e for e in engines(args, onnx) if not only or any(part in e[0] for part in only)]
        if any("candle" in name for name, *_ in chosen) and pathlib.Path(args.rust).exists():
            transformers_file(onnx.with_suffix(".safetensors"))
        if any(part in name for name, *_ in chosen for part in ("onnxruntime", "openvino", "tract")):
            try:
                export(onnx)
            except ImportError as error:
                print(f"no ONNX export: {error}", file=sys.stderr)
        want = Torch("cpu").logits(Torch("cpu").prepare(pixels(2)))
        open_engines = []
        for name, make, limit in chosen:
            try:
                engine = make()
                x = pixels(2)
                far = distance(engine.logits(x if isinstance(engine, VitGpu | Rust) else engine.prepare(x)), want)
            except Exception as error:  # what is missing is left out, whatever the library calls it
                print(f"{name}: left out: {str(error).splitlines()[0] if str(error) else repr(error)}", file=sys.stderr)
                continue
            if not far <= limit:
                print(f"{name}: its logits are {far:.1e} away from PyTorch's, {limit:.0e} allowed: left out", file=sys.stderr)
                continue
            open_engines.append((name, engine, far))

        rows = []
        for batch in map(int, args.batch_size.split(",")):
            # Engines take turns, so that what else the machine does falls on all of them.
            rounds = [[timed(name, engine, batch, args.runs) for name, engine, _ in open_engines] for _ in range(args.rounds)]
            for (name, engine, far), results in zip(open_engines, zip(*rounds)):
                medians = [median for median, _ in results]
                median = statistics.median(medians)
                row = {"engine": name, "version": engine.version(), "device": results[0][1], "batch": batch}
                row |= {"median_ms": 1e3 * median, "images_per_s": batch / median, "relative_l2": far}
                rows.append(row | {"rounds_ms": [1e3 * one for one in medians]})

    print(f"| engine | version | batch | ms | images/s | ratio to vit-gpu's best f32 | off by |\n|---|---|---|---|---|---|---|")
    for row in rows:
        ours = [r for r in rows if r["batch"] == row["batch"] and r["engine"].startswith("vit-gpu")]
        mine = [r["median_ms"] for r in ours if r["engine"].split()[-1] == "f32"]
        ratio = f"{row['median_ms'] / min(mine):.2f}×" if mine else ""
        print(
            f"| {row['engine']} | {row['version']} | {row['batch']} | {row['median_ms']:.1f} | {row['images_per_s']:.2f} "
            f"| {ratio} | {row['relative_l2']:.1e} |"
        )
    if args.output:
        machine = {"system": platform.platform(), "processor": platform.processor(), "python": platform.python_version()}
        pathlib.Path(args.output).write_text(json.dumps({"model": ARCH, "machine": machine, "results": rows}, indent=1))


main()
