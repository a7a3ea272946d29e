"""Small files of many formats (`photos/`), each with what Pillow makes of it beside it, as a PNG. Files that Pillow can't write are
put together here from its bytes. Without arguments, all of them are written again."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image, ImageOps

from hashed import hashed_bytes

HERE = Path(__file__).parent / "photos"


def picture(width=20, height=13, mode="RGB"):
    """Enlarged noise, which lossy formats keep and runs compress."""
    small = Image.frombytes("RGB", (4, 3), hashed_bytes("photos", 36))
    return small.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def saved(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def keep(name, data, shown=True):
    (HERE / name).write_bytes(data)
    assert len(data) <= 3072, (name, len(data))
    if shown:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        image.save(HERE / f"{name}.png")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bitmap_rows(pixels, width, bits):
    stride = (width * bits + 31) // 32 * 4
    rows = [bytes(row) for row in pixels]
    return b"".join(row + bytes(stride - len(row)) for row in reversed(rows))


def bitmaps():
    width, height = 20, 13
    image = picture()
    bgr = [image.crop((0, y, width, y + 1)).tobytes("raw", "BGR") for y in range(height)]
    rows = bitmap_rows(bgr, width, 24)
    old = struct.pack("<IHHHH", 12, width, height, 1, 24)
    keep("bmp-os2-v1.bmp", b"BM" + struct.pack("<IHHI", 26 + len(rows), 0, 0, 26) + old + rows)
    new = struct.pack("<IIIHHIIIIII", 64, width, height, 1, 24, 0, len(rows), 0, 0, 0, 0) + bytes(24)
    keep("bmp-os2-v2.bmp", b"BM" + struct.pack("<IHHI", 78 + len(rows), 0, 0, 78) + new + rows)
    green = [b"".join(struct.pack("<H", (r >> 3) << 11 | (g >> 2) << 5 | b >> 3)
                      for b, g, r in zip(row[::3], row[1::3], row[2::3])) for row in bgr]
    rows = bitmap_rows(green, width, 16)
    head = struct.pack("<IIiHHIIIIII", 40, width, height, 1, 16, 3, len(rows), 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    keep("bmp-565.bmp", b"BM" + struct.pack("<IHHI", 66 + len(rows), 0, 0, 66) + head + masks + rows)
    palette = b"".join(bytes([10 * i, 255 - i, i, 0]) for i in range(16))
    # Runs, a literal of five pixels, a jump, the end of a line and the end of the picture.
    runs = bytes([20, 3, 0, 0, 4, 1, 0, 5, 9, 8, 7, 6, 5, 0, 11, 2, 0, 0]) + bytes([0, 2, 0, 1]) + bytes([20, 4, 0, 0] + [20, 5, 0, 0] * 9)
    head = struct.pack("<IIiHHIIIIII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 16, 0)
    keep("bmp-rle8.bmp", b"BM" + struct.pack("<IHHI", 54 + 64 + len(runs), 0, 0, 118) + head + palette + runs)
    keep("bmp-alone.dib", saved(picture(mode="P"), "DIB"))
    keep("icon-bmp.ico", saved(picture(16, 16), "ICO", sizes=[(16, 16)], bitmap_format="bmp"))
    keep("icon-png.ico", saved(picture(32, 32), "ICO", sizes=[(16, 16), (32, 32)]))
    mono = Image.new("1", (16, 32))
    mono.putdata([255 * (x * y % 3 == 0) for y in range(32) for x in range(16)])
    dib = saved(mono, "DIB")
    entry = struct.pack("<BBBBHHII", 16, 16, 2, 0, 0, 0, len(dib), 22)
    keep("cursor.cur", struct.pack("<HHH", 0, 2, 1) + entry + dib)


def portable():
    bits = picture(mode="1")
    keep("portable.pbm", saved(bits, "PPM"))
    plain = " ".join("1" if value == 0 else "0" for value in bits.get_flattened_data())
    keep("portable-plain.pbm", f"P1\n# plain\n20 13\n{plain}\n".encode())
    samples = picture().tobytes()
    keep("portable-plain.ppm", b"P3 20 13 200\n" + " ".join(str(value * 200 // 255) for value in samples).encode())
    keep("portable-maxval.ppm", b"P6\n20 13\n77\n" + bytes(value * 77 // 255 for value in samples))
    keep("portable-deep.ppm", b"P6\n20 13\n65535\n" + b"".join(struct.pack(">H", 257 * value) for value in samples))
    grey = picture(mode="L").tobytes()
    keep("portable-deep.pgm", b"P5\n20 13\n1000\n" + b"".join(struct.pack(">H", value % 7) for value in grey))
    keep("portable-float.pfm", b"Pf\n20 13\n-1.0\n" + b"".join(struct.pack("<f", 1.5 * value - 20) for value in grey))


def textures_and_documents():
    keep("targa-runs.tga", saved(picture(), "TGA", compression="tga_rle"))
    keep("targa-palette.tga", saved(picture(mode="P"), "TGA", orientation=1))
    keep("quite-ok.qoi", saved(picture(), "QOI"))
    keep("paintbrush.pcx", saved(picture(), "PCX"))
    keep("paintbrush-palette.pcx", saved(picture(mode="P"), "PCX"))
    keep("silicon.sgi", saved(picture(), "SGI"))
    keep("bitmap.xbm", saved(picture(mode="1"), "XBM"))
    for kind in ["DXT1", "DXT5", "BC5"]:
        keep(f"surface-{kind.lower()}.dds", saved(picture(mode="RGB" if kind == "BC5" else "RGBA"), "DDS", pixel_format=kind))
    keep("surface.dds", saved(picture(), "DDS"))
    keep("lossless.jp2", saved(picture(), "JPEG2000", irreversible=False))
    png = saved(picture(16, 16, "RGBA"), "PNG")
    keep("icon.icns", b"icns" + struct.pack(">I", 16 + len(png)) + b"icp4" + struct.pack(">I", 8 + len(png)) + png)
    planes = [band.tobytes() for band in picture(mode="CMYK").split()]
    lines = [bytes([19]) + bytes(255 - value for value in plane[20 * y:20 * y + 20]) for plane in planes for y in range(13)]
    counts = b"".join(struct.pack(">H", len(line)) for line in lines)
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 4, 13, 20, 8, 4)
    keep("document.psd", head + struct.pack(">III", 0, 0, 0) + struct.pack(">H", 1) + counts + b"".join(lines))


def pngs_and_gifs():
    deep = Image.new("I;16", (20, 13))
    deep.putdata([(x * y * 7) % 600 for y in range(13) for x in range(20)])
    keep("png-deep-grey.png", saved(deep, "PNG"))
    png = saved(picture(), "PNG")
    place = png.index(b"IDAT") + 4 + struct.unpack(">I", png[png.index(b"IDAT") - 4:png.index(b"IDAT")])[0]
    keep("png-idat-crc.png", png[:place] + b"oops" + png[place + 4:])
    exif = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x112, 3, 1, 6, 0, 0)
    end = png.index(b"IEND") - 4
    keep("png-exif-behind.png", png[:end] + chunk(b"eXIf", exif) + png[end:])
    profile = b"\nexif\n%8d\n" % (len(exif) + 6) + (b"Exif\0\0" + exif).hex().encode() + b"\n"
    start = png.index(b"IDAT") - 4
    text = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile))
    keep("png-profile.png", png[:start] + text + png[start:])
    gif = bytearray(saved(picture(mode="P").quantize(8), "GIF"))
    gif[6:10] = struct.pack("<HH", 9, 7)
    keep("gif-frame-larger.gif", bytes(gif))


def jpegs():
    keep("jpeg-cmyk.jpg", saved(picture(mode="CMYK"), "JPEG", quality=90))
    keep("jpeg-rgb.jpg", saved(picture(), "JPEG", quality=90, keep_rgb=True))
    grey = saved(picture(mode="L"), "JPEG", quality=90)
    frame = grey.index(b"\xff\xc0")
    lines = b"\xff\xdc\0\x04" + grey[frame + 5:frame + 7]
    keep("jpeg-rows-behind.jpg", grey[:frame + 5] + b"\0\0" + grey[frame + 7:-2] + lines + grey[-2:], shown=False)
    Image.open(io.BytesIO(grey)).convert("RGB").save(HERE / "jpeg-rows-behind.jpg.png")
    separate = HERE / "jpeg-noninterleaved-420.jpg"
    Image.open(separate).convert("RGB").save(HERE / f"{separate.name}.png")
    large = saved(picture(60, 60, "L"), "JPEG", quality=90)
    scan = large.index(b"\xff\xda")
    keep("jpeg-short-scan.jpg", large[:(scan + len(large)) // 2] + large[-2:], shown=False)


def refused():
    keep("document.pdf", b"%PDF-1.4\n%%EOF\n", shown=False)
    keep("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>\n", shown=False)


def write():
    bitmaps()
    portable()
    textures_and_documents()
    pngs_and_gifs()
    jpegs()
    refused()


if __name__ == "__main__":
    write()
