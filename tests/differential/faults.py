"""Puts known faults back into a copy of the Rust source, one at a time, and counts the models until each is found.

    faults.py [--only NAME,…] [--target DIR] [--seed S]

A fault counts as found if a model within the given number fails. Exits with 1 if one is not found, or its text is gone.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@dataclass
class Fault:
    """One text of a file put in place of another, and within how many models of which library that must be found."""

    name: str
    file: str
    old: str
    new: str
    library: str
    within: int


FAULTS = [
    # timm: what one option makes of another's default.
    Fault("a mean over a model with a class token takes the class token in", "src/model/constructor.rs", "let from = if self.pool_include_prefix { 0 } else { prefix };", "let from = 0;", "timm-arch", 200),
    Fault("fc_norm does not follow global_pool", "src/model/constructor.rs", "self.fc_norm.unwrap_or(averaged)", "self.fc_norm.unwrap_or(false)", "timm-arch", 100),
    Fault("a norm_layer by name keeps the architecture's epsilon", "src/checkpoint/timm/given.rs", '"norm_layer" => made.norm_layer = NormLayer::named(text()?).ok_or_else(bad)?,', '"norm_layer" => made.norm_layer.rms = NormLayer::named(text()?).ok_or_else(bad)?.rms,', "timm-arch", 2000),
    Fault("a gated MLP without act_layer runs SiLU", "src/checkpoint/timm/seen.rs", "    seen.mlp_layer = layer;\n", "    seen.mlp_layer = layer;\n    if layer != MlpLayer::Plain {\n        seen.act_layer = crate::ops::Activation::Silu;\n    }\n", "timm-class", 300),
    Fault("the gate of GluMlp is taken for its first half", "src/checkpoint/timm/recipe.rs", '== Some("GluMlp")', '== Some("-")', "timm-class", 300),
    Fault("a parallel block without proj_bias loses its MLP's bias", "src/model/forward/block.rs", "let first = cfg.mlp_bias || cfg.block == Block::ParallelScaling;", "let first = cfg.mlp_bias;", "timm-class", 600),
    Fault("init_values 0 makes no layer scale of a parallel block", "src/model/constructor.rs", "Block::ParallelScaling => self.init_values.is_some(),", "Block::ParallelScaling => false,", "timm-class", 1500),
    Fault("a distilled model pools its class token alone", "src/model/constructor.rs", "GlobalPool::Token if self.distilled => Pooling::ClassAndDistillation,", "GlobalPool::Token if self.distilled => Pooling::CLASS,", "timm-class", 200),
    Fault("a distilled model normalises by fc_norm", "src/model/constructor.rs", "(cfg.dist_token, cfg.reg_tokens, cfg.fc_norm, cfg.pos_embed) = (true, 0, false, true);", "(cfg.dist_token, cfg.reg_tokens, cfg.pos_embed) = (true, 0, true);", "timm-class", 1500),
    Fault("a wrapper around all names is not left off", "src/checkpoint/names.rs", "std::iter::once(0).chain(ends)", "std::iter::once(0).chain(ends.take(0))", "timm-class", 300),
    Fault("a tensor of another size is refused by a model with dynamic_img_size", "src/checkpoint/timm/mod.rs", "is_some_and(|given| given.arguments.dynamic_img_size);", "is_some_and(|_| false);", "timm-class", 600),
    # torchvision: the fields of a configuration of one's own.
    Fault("eps is not read for torchvision's names", "src/checkpoint/torchvision.rs", 'cfg.norm_eps = names.number_field("eps")?.map_or(cfg.norm_eps, |eps| eps as f32);', "", "torchvision", 100),
    Fault("act is not read for torchvision's names", "src/checkpoint/torchvision.rs", 'cfg.act = names.act_field("act")?.unwrap_or(cfg.act);', "", "torchvision", 100),
    Fault("global_pool is not read for torchvision's names", "src/checkpoint/torchvision.rs", "cfg.pool = from_scratch::pooling(names, Pooling::CLASS, 1)?;", "cfg.pool = Pooling::CLASS;", "torchvision", 100),
    # open_clip.
    Fault("norm_kwargs is not read", "src/checkpoint/open_clip/mod.rs", "cfg.norm_eps = norm_eps(&config)?;", "cfg.norm_eps = 1e-5;", "open-clip", 300),
    Fault("act_kwargs is not read", "src/checkpoint/open_clip/mod.rs", '(Some("tanh"), Activation::Gelu) => Activation::GeluTanh,', '(Some("tanh"), Activation::Gelu) => Activation::Gelu,', "open-clip", 300),
    Fault("a trunk's own classifier gives logits instead of the embedding", "src/checkpoint/open_clip/trunk.rs", "    (cfg.head, cfg.num_classes) = (Head::None, 0);", "    if cfg.projection.take_if(|_| cfg.projection_bias && cfg.pre_logits.is_none()).is_none() {\n        (cfg.head, cfg.num_classes) = (Head::None, 0);\n    }", "open-clip", 600),
    Fault("timm_pool is made with the trunk instead of set afterwards", "src/checkpoint/open_clip/trunk.rs", "if matches!(proj(names, vision)?, Proj::Classifier | Proj::None) {", "if vision.get(\"timm_pool\").is_some_and(|pool| pool != \"\") {", "open-clip", 600),
    # transformers.
    Fault("a table of an oblong grid is resampled from that grid", "src/checkpoint/positions.rs", "            Some(square) => Ok(Some(square)),", "            Some(_) => Ok(Some(own_grid)),", "huggingface", 2000),
    Fault("a tensor of another size is refused", "src/checkpoint/positions.rs", "Positions { square: true, dynamic: true, ..Positions::on_request(rule) }", "Positions { square: true, dynamic: false, ..Positions::on_request(rule) }", "huggingface", 300),
    Fault("layer_norm_eps is not read", "src/checkpoint/huggingface/mod.rs", 'names.number_field("layer_norm_eps")?.map_or(default_eps, |eps| eps as f32);', "default_eps;", "huggingface", 100),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), help="names, or parts of them")
    parser.add_argument("--target", type=Path, default=Path(tempfile.gettempdir()) / "faults-target", help="CARGO_TARGET_DIR")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chosen = [fault for fault in FAULTS if not arguments.only or any(part in fault.name for part in arguments.only)]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder) / "copy")
        for fault in chosen:
            found, text = judged(fault, copy, arguments)
            missed += not found
            print(f"{'found ' if found else 'MISSED'} {fault.name}: {text}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} found")
    return 1 if missed else 0


def copied(to: Path) -> Path:
    """A copy of the working tree: what git tracks or would."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def judged(fault: Fault, copy: Path, arguments) -> tuple[bool, str]:
    """Whether the fault was found, and after how many models, or why not. The copy is as before afterwards."""
    path = copy / fault.file
    before = path.read_text()
    if before.count(fault.old) != 1:
        return False, f"its text is {before.count(fault.old)} times in {fault.file}"
    path.write_text(before.replace(fault.old, fault.new))
    try:
        built = subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=copy, env={**os.environ, "CARGO_TARGET_DIR": str(arguments.target)}, capture_output=True, text=True)
        if built.returncode:
            return False, f"it does not compile: {built.stderr[-300:]}"
        return searched(fault, arguments)
    finally:
        path.write_text(before)


def searched(fault: Fault, arguments) -> tuple[bool, str]:
    """Draws models until one fails."""
    binary = arguments.target / "release" / "vit-gpu"
    command = [sys.executable, str(HERE / "run.py"), "--binary", str(binary), "--libraries", fault.library]
    command += ["--models", str(fault.within), "--seed", str(arguments.seed), "--until-failure"]
    done = subprocess.run(command, capture_output=True, text=True)
    after = re.search(r"found after (\d+) models", done.stdout)
    if not after:
        return False, f"not within {fault.within} models of {fault.library}" if done.returncode == 0 else done.stderr[-300:]
    return True, f"after {after[1]} of {fault.within} models of {fault.library}"


if __name__ == "__main__":
    sys.exit(main())
