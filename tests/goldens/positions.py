"""Position tables resampled by every rule a family has: positions.safetensors, and what the rules are called with."""

import json

import scipy.ndimage
import torch
from safetensors.torch import save_file

from common import HERE
from hashed import hashed

PAIRS = [((7, 7), (4, 6)), ((4, 4), (7, 5)), ((14, 14), (16, 16)), ((37, 37), (16, 16))]
RULES = {
    "bicubic": {"mode": "bicubic"},
    "bicubic_offset": {"mode": "bicubic", "offset": 0.1},
    "bicubic_antialias": {"mode": "bicubic", "antialias": True},
    "bicubic_align_corners": {"mode": "bicubic", "align_corners": True},
    "bilinear": {"mode": "bilinear"},
    "zoom": {"scipy.ndimage.zoom": {"order": 1}},
}


def resample(table, to, mode=None, offset=None, antialias=False, align_corners=False, **zoom):
    """[h, w, D] → [h', w', D]."""
    if zoom:
        factors = tuple(new / old for new, old in zip(to, table.shape)) + (1,)
        return torch.from_numpy(scipy.ndimage.zoom(table.numpy(), factors, **zoom["scipy.ndimage.zoom"]))
    goal = {"size": to} if offset is None else {"scale_factor": tuple((new + offset) / old for new, old in zip(to, table.shape))}
    grid = table.permute(2, 0, 1)[None]
    grid = torch.nn.functional.interpolate(grid, mode=mode, antialias=antialias, align_corners=align_corners, **goal)
    return grid[0].permute(1, 2, 0).contiguous()


def write_all():
    out = {}
    for old, new in PAIRS:
        source = f"source {old[0]}x{old[1]}"
        table = torch.from_numpy(hashed(source, old[0] * old[1] * 3).reshape(*old, 3))
        out[source] = table
        results = [resample(table, new, **options) for options in RULES.values()]
        for i, (rule, result) in enumerate(zip(RULES, results)):
            assert result.shape == (*new, 3) and result.dtype == torch.float32
            out[f"{rule} {old[0]}x{old[1]} {new[0]}x{new[1]}"] = result
            # Enlarging, antialiasing changes only the cubic's coefficient; everything else parts everywhere.
            for other in results[:i]:
                assert (result - other).norm() > 1e-3 * result.norm(), (rule, old, new)
    save_file(out, HERE / "positions.safetensors")
    (HERE / "positions.json").write_text(json.dumps({"rules": RULES, "pairs": PAIRS}, indent=1))
