"""TIFF files of the kinds that `src/preprocess/decode/tiff` reads or refuses, each with what Pillow makes of it, in `photos`.

Only Pillow and numpy are needed. Most files are written here byte by byte, because Pillow does not write tiles, planes, predictors or
subsampled colours.
"""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from hashed import hashed_bytes

FOLDER = Path(__file__).parent / "photos"
WIDTH, HEIGHT = 24, 18
# The types of a tag's values.
TYPES = {"H": 3, "L": 4, "Q": 16}
# Files that Pillow shows, written so far.
NAMES = []


def picture(chans=3):
    """A smooth picture with a noisy corner."""
    low = Image.fromarray(hashed_bytes("tiff", 20 * chans).reshape(4, 5, chans).squeeze())
    smooth = np.array(low.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).reshape(HEIGHT, WIDTH, chans)
    smooth[:6, :8] = hashed_bytes("corner", 48 * chans).reshape(6, 8, chans)
    return smooth


def write(name, blocks, order="<", big=False, tiled=False, **tags):
    """Writes a TIFF of these blocks of bytes. A tag is given by its number, as `t256`: the type and the values."""
    tags = {int(key[1:]): value for key, value in tags.items()}
    long, header, word = ("Q", 16, 8) if big else ("L", 8, 4)
    tags.setdefault(256, ("H", [WIDTH]))
    tags.setdefault(257, ("H", [HEIGHT]))
    offsets, counts = (324, 325) if tiled else (273, 279)
    tags[offsets] = (long, [0] * len(blocks))
    tags[counts] = ("L", [len(block) for block in blocks])
    entry = 20 if big else 12
    outside = header + word * big + (0 if big else 2) + entry * len(tags) + word

    def values(kind, numbers):
        return struct.pack(order + kind * len(numbers), *numbers)

    at = outside + sum(len(values(*tag)) for tag in tags.values() if len(values(*tag)) > word)
    places = []
    for block in blocks:
        places.append(at)
        at += len(block)
    tags[offsets] = (long, places)
    entries, data, at = b"", b"", outside
    for number, tag in sorted(tags.items()):
        packed = values(*tag)
        if len(packed) > word:
            data += packed
            packed, at = struct.pack(order + long, at), at + len(packed)
        entries += struct.pack(order + "HH" + long, number, TYPES[tag[0]], len(tag[1])) + packed.ljust(word, b"\0")
    start = b"II" if order == "<" else b"MM"
    start += struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HL", 42, 8)
    count = struct.pack(order + ("Q" if big else "H"), len(tags))
    file = start + count + entries + bytes(word) + data + b"".join(blocks)
    (FOLDER / name).write_bytes(file)
    if not name.startswith("tiff-refused"):
        NAMES.append(name)


def kind(photometric, bits, compression, *extra, **more):
    """The tags of pixels of these samples."""
    tags = dict(t258=("H", bits), t259=("H", [compression]), t262=("H", [photometric]), t277=("H", [len(bits)]))
    return tags | ({"t338": ("H", list(extra))} if extra else {}) | more


def strips(rows, per_strip):
    return [rows[at : at + per_strip] for at in range(0, len(rows), per_strip)]


def tiles(image, size=16):
    padded = np.pad(image, ((0, -HEIGHT % size), (0, -WIDTH % size), (0, 0)), "edge")
    places = [(y, x) for y in range(0, HEIGHT, size) for x in range(0, WIDTH, size)]
    return [padded[y : y + size, x : x + size] for y, x in places]


def tile_tags(size=16):
    return dict(t322=("H", [size]), t323=("H", [size]))


def differences(block):
    """Each sample less that of the pixel on its left."""
    out = block.copy()
    out[:, 1:] -= block[:, :-1]
    return out


def float_differences(block):
    """The bytes of each row of floats, the most significant first, each less the byte before."""
    rows = []
    for row in block:
        planes = np.frombuffer(row.astype(">f4").tobytes(), np.uint8).reshape(-1, 4).T.ravel()
        rows.append(np.diff(planes, prepend=np.uint8(0)).astype(np.uint8).tobytes())
    return b"".join(rows)


def old_lzw(data):
    """LZW of the first kind: codes from the lowest bit, here only bytes, and a new start before codes grow."""
    codes = [code for at in range(0, len(data), 200) for code in [256, *data[at : at + 200]]] + [257]
    number = sum(code << (9 * place) for place, code in enumerate(codes))
    return number.to_bytes((9 * len(codes) + 7) // 8, "little")


def groups(image, across, down):
    """Luma samples of groups of pixels, each group followed by its two chromas."""
    rows = []
    for y in range(0, HEIGHT, down):
        for x in range(0, WIDTH, across):
            group = image[y : y + down, x : x + across]
            rows.append(group[..., 0].tobytes() + group[0, 0, 1:].tobytes())
    return b"".join(rows)


def packed(samples, bits):
    """Rows of samples of fewer than eight bits, or of twelve."""
    ones = (samples[..., None] >> np.arange(bits)[::-1]) & 1
    return np.packbits(ones.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


def by_pillow(name, image, **options):
    image.save(FOLDER / name, **options)
    NAMES.append(name)


def shown():
    rgb, four = picture(), picture(4)
    grey = rgb[..., 0]
    wide = rgb.astype(np.uint16) * 257
    bits = Image.fromarray(rgb).convert("1")
    ycbcr = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    zipped = zlib.compress
    rows = dict(t278=("H", [8]))
    write("tiff-bigtiff-16bit-predictor.tif", [zipped(differences(part).tobytes()) for part in strips(wide, 8)], big=True,
          **kind(2, [16] * 3, 8, **rows, t317=("H", [2])))
    write("tiff-big-endian-16bit-predictor.tif", [zipped(differences(part).astype(">u2").tobytes()) for part in strips(wide, 8)],
          order=">", **kind(2, [16] * 3, 8, **rows, t317=("H", [2])))
    floats = grey.astype(np.float32)[..., None] * 1.3 - 20
    write("tiff-float-predictor-tiles.tif", [zipped(float_differences(tile[..., 0])) for tile in tiles(floats)], tiled=True,
          **kind(1, [32], 8, **tile_tags(), t317=("H", [3]), t339=("H", [3])))
    planes = [zipped(tile.tobytes()) for plane in np.moveaxis(four, -1, 0) for tile in tiles(plane[..., None])]
    write("tiff-cmyk-planar-tiles.tif", planes, tiled=True, **kind(5, [8] * 4, 8, **tile_tags(), t284=("H", [2])))
    write("tiff-premultiplied.tif", [zipped(four.tobytes())], **kind(2, [8] * 4, 8, 1))
    write("tiff-grey-alpha.tif", [four[..., :2].tobytes()], **kind(1, [8] * 2, 1, 2))
    write("tiff-signed-16bit.tif", [(grey.astype(">i2") * 2 - 100).tobytes()], order=">", **kind(1, [16], 1, t339=("H", [2])))
    write("tiff-12bit.tif", [packed(grey.astype(np.uint16) * 2, 12)], **kind(1, [12], 1))
    colours = [int(value) for value in np.frombuffer(hashed_bytes("palette", 96).tobytes(), "<u2")]
    write("tiff-palette-4bit-packbits.tif", [b"".join(b"\x0b" + row for row in strips(packed(grey >> 4, 4), 12))],
          **kind(3, [4], 32773, t320=("H", colours)))
    write("tiff-old-lzw.tif", [old_lzw(grey.tobytes())], **kind(0, [8], 5))
    write("tiff-ycbcr-420.tif", [zipped(groups(ycbcr, 2, 2))], **kind(6, [8] * 3, 8, t530=("H", [2, 2])))
    write("tiff-lab.tif", [zipped(rgb.tobytes())], **kind(8, [8] * 3, 8))
    by_pillow("tiff-group3.tif", bits, compression="group3")
    by_pillow("tiff-group3-2d.tif", bits, compression="group3", tiffinfo={292: 1})
    by_pillow("tiff-group4.tif", bits, compression="group4")
    by_pillow("tiff-huffman.tif", bits, compression="tiff_ccitt")
    by_pillow("tiff-lzma.tif", Image.fromarray(grey), compression="lzma")
    by_pillow("tiff-zstd.tif", Image.fromarray(grey), compression="zstd")
    by_pillow("tiff-jpeg.tif", Image.fromarray(rgb), compression="jpeg", quality=90)


def refused():
    grey = picture(1)[..., 0]
    floats = grey.astype(">f4").tobytes()
    write("tiff-refused-compressed-big-endian-float.tif", [zlib.compress(floats)], order=">", **kind(1, [32], 8, t339=("H", [3])))
    write("tiff-refused-stored-ycbcr-420.tif", [groups(picture(), 2, 2)], **kind(6, [8] * 3, 1, t530=("H", [2, 2])))
    write("tiff-refused-float16.tif", [grey.astype("<f2").tobytes()], **kind(1, [16], 1, t339=("H", [3])))
    write("tiff-refused-truncated.tif", [zlib.compress(grey.tobytes())[:-40]], **kind(1, [8], 8))


if __name__ == "__main__":
    refused()
    shown()
    # Two files that lie there already, from when they were refused.
    for name in [*NAMES, "tiff-fillorder2-1bit.tif", "tiff-tiled-planar.tif"]:
        image = Image.open(io.BytesIO((FOLDER / name).read_bytes())).convert("RGB")
        image.save(FOLDER / f"{name}.png", optimize=True)
