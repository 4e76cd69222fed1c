"""PNG and JPEG: 16 bit is not saturated, colour is what it was, bombs and turned pictures are refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow

from medpo_cli.errors import RecordError
from medpo_cli.imaging.raster import decode
from medpo_cli.imaging.window import view


def encoded(picture: Pillow.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def reason(data: bytes, kind: str = "png") -> str:
    with pytest.raises(RecordError) as caught:
        decode(data, kind)  # type: ignore[arg-type]
    return caught.value.reason


def test_grey_picture_is_x_then_y() -> None:
    image = decode(encoded(Pillow.fromarray(np.array([[1, 2, 3], [4, 5, 6]], np.uint8))), "png")
    assert image.shape == (3, 2, 1)
    assert image.array[2, 0, 0] == 3
    assert image.array[0, 1, 0] == 4
    assert image.affine is None


def test_sixteen_bits_keep_their_values_and_are_windowed() -> None:
    picture = np.linspace(1000, 3000, 10_001).astype(np.uint16).reshape(1, -1)
    image = decode(encoded(Pillow.fromarray(picture)), "png")
    np.testing.assert_array_equal(image.array[:, 0, 0], picture[0])
    shown = view(image)[0, :, 0]
    # Percentiles 1 and 99 of an even ramp from 1000 to 3000 are 1020 and 2980; the middle is 127.5.
    assert shown[0] == 0
    assert shown[-1] == 255
    assert abs(int(shown[5000]) - 127.5) <= 1
    assert shown[2500] == round((1500 - 1020) / 1960 * 255)


@pytest.mark.parametrize(
    ("mode", "pixel", "shown"),
    [
        ("1", 1, (255, 255, 255)),
        ("LA", (77, 10), (77, 77, 77)),
        ("RGBA", (10, 20, 30, 0), (10, 20, 30)),
        ("RGB", (10, 20, 30), (10, 20, 30)),
    ],
)
def test_modes_become_grey_or_rgb(mode: str, pixel: object, shown: tuple[int, int, int]) -> None:
    image = decode(encoded(Pillow.new(mode, (4, 3), pixel)), "png")
    assert tuple(view(image)[1, 2]) == shown


def test_palette_and_cmyk_become_rgb() -> None:
    palette = Pillow.new("P", (4, 3), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    assert tuple(view(decode(encoded(palette), "png"))[0, 0]) == (9, 8, 7)
    cyan = view(decode(encoded(Pillow.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG"), "jpeg"))[0, 0]
    assert cyan[0] < 20
    assert cyan[1] > 200


def test_bombs_are_refused_before_pixels() -> None:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    claim = b"\x89PNG\r\n\x1a\n"
    for name, body in chunks:
        claim += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    assert reason(claim) == "too-large"
    assert reason(encoded(Pillow.new("1", (12_000, 12_000)))) == "too-large"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_a_tiff_keeps_its_values(dtype: type, compression: str) -> None:
    values = (np.arange(12).reshape(3, 4) * 5).astype(dtype) * (1 if dtype is np.uint8 else 1000)
    image = decode(encoded(Pillow.fromarray(values), "TIFF", compression=compression), "tiff")
    assert image.array.dtype == dtype
    np.testing.assert_array_equal(image.array[:, :, 0], values.T)


def test_tiff_colour_stacks_and_deep_pixels() -> None:
    colour = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(
        decode(encoded(Pillow.fromarray(colour), "TIFF"), "tiff").array[:, :, 0], colour.transpose(1, 0, 2)
    )
    page = Pillow.fromarray(np.zeros((3, 4), np.uint8))
    assert reason(encoded(page, "TIFF", save_all=True, append_images=[page]), "tiff") == "unsupported-format"
    for deep in (np.float32, np.int32):
        assert reason(encoded(Pillow.fromarray(np.ones((3, 4), deep)), "TIFF"), "tiff") == "unsupported-format"


def _tiff16(samples: int, photometric: int) -> bytes:
    """A TIFF of 2 x 1 pixels with 16 bits a sample, which Pillow cannot write: all samples are 515."""
    width, height, size = 2, 1, 4 * samples
    fields = [
        (256, width), (257, height), (258, 16 if samples == 1 else 126), (259, 1), (262, photometric), (273, 140),
        (277, samples), (278, height), (279, size),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHIHH", tag, 3, samples if tag == 258 else 1, value, 0) for tag, value in fields)
    head = b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + b"\0\0\0\0"
    return (
        head.ljust(126, b"\0") + struct.pack("<3H", 16, 16, 16).ljust(14, b"\0") + struct.pack("<H", 515) * (size // 2)
    )


def test_deep_tiff_that_pillow_would_change_is_refused() -> None:
    assert (decode(_tiff16(1, 1), "tiff").array == 515).all()
    assert reason(_tiff16(1, 0), "tiff") == "unsupported-format"  # white is 0
    assert reason(_tiff16(3, 2), "tiff") == "unsupported-format"  # RGB would lose its lower bytes


def test_turned_pictures_and_animations_are_refused() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    assert reason(encoded(Pillow.new("L", (4, 3)), "JPEG", exif=exif), "jpeg") == "exif-orientation"
    exif[0x0112] = 1
    assert decode(encoded(Pillow.new("L", (4, 3)), "JPEG", exif=exif), "jpeg").shape == (4, 3, 1)
    frames = [Pillow.new("L", (4, 3), value) for value in (0, 90)]
    assert reason(encoded(frames[0], save_all=True, append_images=frames[1:])) == "unsupported-format"
