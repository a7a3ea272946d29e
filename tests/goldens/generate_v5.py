"""Writes the goldens of transformers 5: encoders named as it names them in memory (models/hf5_*, models/peft5_*), and its
image processors.

    pip install -r tests/goldens/requirements-v5.txt
    python tests/goldens/generate_v5.py

Apart from generate.py because one environment cannot hold both versions. The files are raw state dictionaries:
`save_pretrained` of version 5 gives most of these tensors the names of version 4.
"""

import shutil

import huggingface_more
import peft_models
import processors
from common import MODELS

NAMES = """vit deit_teacher vit_msn vit_mae dinov2 dinov2_swiglu dinov2_registers_model clip_vision clip_projection clip_full
siglip_vision siglip_full""".split()

if __name__ == "__main__":
    for folder in [*MODELS.glob("hf5_*"), *MODELS.glob("peft5_*")]:
        shutil.rmtree(folder)
    huggingface_more.write_all(NAMES)
    peft_models.write_all()
    processors.write()
    size = sum(file.stat().st_size for folder in MODELS.glob("*5_*") for file in folder.rglob("*") if file.is_file())
    print(f"{size / 1e6:.2f} MB of goldens")
