"""Writes the HEIC and AVIF files among goldens/photos, each beside what Pillow shows (with pillow-heif for HEIC).

    pip install pillow==13.0.0 pillow-heif==1.8.1 numpy
    python tests/goldens/phone.py

Pictures are small, with odd sizes and edges of strong colour. The grid of tiles, as phones write it, is put together here,
because no Python package writes one.
"""

import io
import struct
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageOps

PHOTOS = Path(__file__).parent / "photos"


def picture(width, height):
    y, x = np.mgrid[0:height, 0:width]
    channels = np.stack([x * 255 / width, y * 255 / height, 128 + 127 * np.sin((x * x + y * y) / (2.0 * width))], -1)
    channels[height // 3 : height // 2, width // 4 : width // 3] = (250, 20, 30)
    return Image.fromarray(channels.astype(np.uint8))


def exif(orientation):
    tags = Image.Exif()
    tags[0x112] = orientation
    return tags.tobytes()


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def full(kind, version, *parts):
    return box(kind, struct.pack(">I", version << 24), *parts)


def children(data):
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        yield kind, data[at + 8 : at + size]
        at += size


def tile(image, **options):
    """The parameters and the bytes of an image that is alone in its file."""
    file = io.BytesIO()
    image.save(file, "HEIF", **options)
    boxes = dict(children(file.getvalue()))
    properties = dict(children(dict(children(boxes[b"meta"][4:]))[b"iprp"]))[b"ipco"]
    return dict(children(properties))[b"hvcC"], boxes[b"mdat"]


def grid(image, side, quarters, orientation, **options):
    """An image in tiles, to be rotated against the clock, with EXIF data that say something else."""
    columns, rows = -(-image.width // side), -(-image.height // side)
    padded = Image.new("RGB", (columns * side, rows * side))
    padded.paste(image)
    corners = [(x * side, y * side) for y in range(rows) for x in range(columns)]
    tiles = [tile(padded.crop((x, y, x + side, y + side)), **options) for x, y in corners]
    count = len(tiles)
    properties = [
        box(b"hvcC", tiles[0][0]),
        full(b"ispe", 0, struct.pack(">II", side, side)),
        full(b"ispe", 0, struct.pack(">II", *image.size)),
        box(b"irot", bytes([quarters])),
    ]
    described = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, *image.size)
    items = [(number + 1, b"hvc1", data) for number, (_, data) in enumerate(tiles)]
    items.append((count + 1, b"grid", described))
    items.append((count + 2, b"Exif", struct.pack(">I", 6) + exif(orientation)))
    associations = [(number + 1, [1, 2]) for number in range(count)] + [(count + 1, [3, 4])]

    def meta(offset):
        places = []
        for number, _, data in items:
            places.append(struct.pack(">HHHII", number, 0, 1, offset, len(data)))
            offset += len(data)
        entries = [full(b"infe", 2, struct.pack(">HH4s", number, 0, kind), b"\0") for number, kind, _ in items]
        pairs = [struct.pack(">HB", number, len(indices)) + bytes(indices) for number, indices in associations]
        return full(
            b"meta",
            0,
            full(b"hdlr", 0, bytes(4), b"pict", bytes(13)),
            full(b"pitm", 0, struct.pack(">H", count + 1)),
            full(b"iloc", 0, struct.pack(">HH", 0x4400, len(items)), *places),
            full(b"iinf", 0, struct.pack(">H", len(items)), *entries),
            full(
                b"iref",
                0,
                box(b"dimg", struct.pack(">HH", count + 1, count), *[struct.pack(">H", n + 1) for n in range(count)]),
                box(b"cdsc", struct.pack(">HHH", count + 2, 1, count + 1)),
            ),
            box(
                b"iprp",
                box(b"ipco", *properties),
                full(b"ipma", 0, struct.pack(">I", len(pairs)), *pairs),
            ),
        )

    head = box(b"ftyp", b"heic", bytes(4), b"mif1heic")
    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", *[data for _, _, data in items])


def main():
    pillow_heif.register_heif_opener()
    image, odd = picture(50, 36), picture(37, 29)
    alpha = odd.copy()
    alpha.putalpha(odd.convert("L"))
    (PHOTOS / "heic-grid.heic").write_bytes(grid(picture(70, 66), 64, 1, 6, quality=5))
    image.save(PHOTOS / "heic-limited.heic", quality=40, full_range_flag=0, matrix_coefficients=1)
    image.save(PHOTOS / "heic-422.heic", quality=40, chroma="422", exif=exif(3))
    odd.save(PHOTOS / "heic-odd.heic", quality=40, exif=exif(7))
    odd.convert("L").save(PHOTOS / "heic-grey.heif", quality=40)
    alpha.save(PHOTOS / "heic-alpha.heic", quality=40, chroma="444")
    deep = np.asarray(odd).astype(np.uint16) * 257
    deep = pillow_heif.from_bytes(mode="RGB;16", size=odd.size, data=deep.tobytes())
    deep.save(PHOTOS / "heic-10-bits.heic", quality=40, matrix_coefficients=9, full_range_flag=0)
    image.save(PHOTOS / "avif-420.avif", quality=40)
    odd.save(PHOTOS / "avif-odd.avif", quality=40, exif=exif(7))
    odd.save(PHOTOS / "avif-limited-422.avif", quality=40, subsampling="4:2:2", range="limited")
    odd.save(PHOTOS / "avif-grey.avif", quality=40, subsampling="4:0:0")
    alpha.save(PHOTOS / "avif-alpha.avif", quality=40, subsampling="4:4:4")
    (PHOTOS / "heic-cut-off.heic").write_bytes((PHOTOS / "heic-odd.heic").read_bytes()[:-200])
    (PHOTOS / "avif-cut-off.avif").write_bytes((PHOTOS / "avif-odd.avif").read_bytes()[:-100])
    for path in sorted(PHOTOS.iterdir()):
        if path.suffix in (".heic", ".heif", ".avif") and "cut-off" not in path.name:
            shown = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            shown.save(f"{path}.png", optimize=True)
            print(path.name, path.stat().st_size, shown.size)


if __name__ == "__main__":
    main()
