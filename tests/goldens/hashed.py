"""Values from an integer hash: the twin of src/model/random.rs, in NumPy."""

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def hashed(name: str, count: int, seed: int = 0) -> np.ndarray:
    """`count` float32 values in [-1, 1): the top 24 bits of SplitMix64 started from FNV-1a of the name."""
    start = 0xCBF29CE484222325
    for byte in name.encode():
        start = ((start ^ byte) * 0x100000001B3) & MASK
    start = (start + seed * GOLDEN) & MASK
    with np.errstate(over="ignore"):
        z = np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(8388608) - np.float32(1)


def hashed_bytes(name: str, count: int, seed: int = 0) -> np.ndarray:
    """`count` bytes: the values above, scaled to 0..255."""
    return ((hashed(name, count, seed) + np.float32(1)) * np.float32(127.99)).astype(np.uint8)


def weight(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A canonical weight of `random:ARCH@SEED` (`spread` in src/model/random.rs)."""
    if len(shape) == 2 and name.endswith(".weight"):
        center, spread = 0.0, np.sqrt(np.float32(3.0) / np.float32(shape[1]))
    elif name.endswith(".weight"):
        center, spread = 1.0, 0.25
    elif name.endswith(".gamma"):
        center, spread = 0.5, 0.25
    elif name.endswith(".bias"):
        center, spread = 0.0, 0.1
    else:
        center, spread = 0.0, 0.5
    values = hashed(name, int(np.prod(shape)), seed)
    return (np.float32(center) + np.float32(spread) * values).reshape(shape)


def timm_weight(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """The same by timm's name and shape: the prefix tokens, the position table and the patches are matrices to us."""
    canonical = {"cls_token": "prefix_tokens"}.get(name, name)
    matrix = shape
    if name in ("cls_token", "pos_embed"):
        matrix = shape[1:]
    elif name == "patch_embed.proj.weight":
        matrix = (shape[0], int(np.prod(shape[1:])))
    return weight(canonical, tuple(matrix), seed).reshape(shape)
