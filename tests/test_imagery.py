"""Image files: any depth and channels come out as RGB uint8; a broken one is one sentence with its path."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from roadedge.errors import DataError, OutputError
from roadedge.imagery import encode_png, read_image, read_mask, read_raster, to_rgb8, write_jpeg, write_png

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
GREY, RGBA = 0, 6  # colour types of a PNG header
GREY_ALPHA = 4


def png(path: Path, colour: int, depth: int, rows: list[bytes], width: int) -> Path:
    """A PNG written by hand, for the kinds that OpenCV does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b""))
    return path


def saved(path: Path, array: np.ndarray) -> Path:
    """As OpenCV writes it: colours in the order blue, green, red."""
    assert cv2.imwrite(str(path), array)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_colours_come_out_red_first(tmp_path: Path, suffix: str) -> None:
    read = read_image(saved(tmp_path / f"a{suffix}", RGB[..., ::-1]))
    assert (read == RGB).all()
    assert read.flags.c_contiguous


def test_a_jpeg_is_read_near_enough(tmp_path: Path) -> None:
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    write_jpeg(tmp_path / "a.jpg", flat)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - flat).max() <= 3


def test_grey_is_repeated(tmp_path: Path) -> None:
    read = read_image(saved(tmp_path / "a.png", RGB[..., 0].copy()))
    assert (read == RGB[..., :1]).all()
    assert read.shape == RGB.shape


def test_alpha_is_dropped(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", RGBA, 8, [bytes([10, 20, 30, 0, 40, 50, 60, 255])], 2)
    assert read_image(path).tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_grey_with_alpha_is_grey(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", GREY_ALPHA, 8, [bytes([10, 255, 200, 0])], 2)
    assert read_image(path).tolist() == [[[10, 10, 10], [200, 200, 200]]]
    assert read_raster(path).tolist() == [[10, 200]]


def test_one_bit_a_pixel_is_black_and_white(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", GREY, 1, [bytes([0b10100000])], 4)
    assert read_image(path)[0, :, 0].tolist() == [255, 0, 255, 0]
    assert read_mask(path).tolist() == [[255, 0, 255, 0]]


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([0, 30000, 65535], [0, 117, 255]),
        ([0, 2048, 4095], [0, 128, 255]),  # twelve bits in sixteen
        ([0, 512, 1023], [0, 128, 255]),
        ([0, 0, 0], [0, 0, 0]),
    ],
)
def test_sixteen_bits_are_scaled_by_their_range(tmp_path: Path, values: list[int], levels: list[int]) -> None:
    path = saved(tmp_path / "a.png", np.array([values], np.uint16))
    assert read_image(path)[0, :, 0].tolist() == levels
    assert read_raster(path)[0].tolist() == levels


def test_sixteen_bit_colours_keep_their_order(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", np.array([[[0, 32768, 65535]]], np.uint16))
    assert read_image(path).tolist() == [[[255, 128, 0]]]


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 2), (4, 5, 3), (4, 5, 4)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.bool_])
def test_arrays_of_any_depth_and_channels_become_rgb(shape: tuple[int, ...], kind: Any) -> None:
    read = to_rgb8(np.ones(shape, kind))
    assert read.shape == (4, 5, 3)
    assert read.dtype == np.uint8


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((4, 5, 5), np.uint8), r"1 to 4 channels, got an array of shape \(4, 5, 5\)"),
        (np.zeros(4, np.uint8), "1 to 4 channels"),
        (np.zeros((2, 4, 5, 3), np.uint8), "1 to 4 channels"),
        (np.zeros((4, 5), np.float32), "8 or 16 bits of unsigned integers, got float32; convert it first"),
        (np.zeros((4, 5), np.int16), "got int16"),
    ],
)
def test_arrays_that_are_no_image_are_refused(array: np.ndarray, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        to_rgb8(array)


def test_a_float_image_file_is_refused_with_its_path(tmp_path: Path) -> None:
    path = saved(tmp_path / "height.tif", np.ones((4, 4), np.float32))
    for read in (read_image, read_raster):
        with pytest.raises(DataError, match=r"height\.tif: an image has 8 or 16 bits"):
            read(path)


def broken(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"bad.{'jpg' if kind == 'jpeg' else 'png'}"
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    whole = cv2.imencode(path.suffix, noise)[1].tobytes()
    content = {
        "empty": b"",
        "text": b"x,y\n1,2\n",
        "header": whole[:8],
        "half": whole[: len(whole) // 2],
        "end": whole[:-12],
        "flipped": whole[:3000] + bytes([whole[3000] ^ 255]) + whole[3001:],
        "jpeg": whole[: len(whole) // 2],
    }
    path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("empty", r"is not an image that can be read \(0 bytes\); expected PNG, JPEG, TIFF or BMP"),
        ("text", r"is not an image that can be read \(8 bytes\)"),
        ("header", r"is cut off in the middle \(8 bytes\); copy the file again"),
        ("half", "is cut off in the middle"),
        ("end", "is cut off in the middle"),
        ("jpeg", "is cut off in the middle"),
        ("flipped", "is not an image that can be read"),
    ],
)
def test_a_broken_file_is_one_sentence_with_its_path(tmp_path: Path, kind: str, sentence: str) -> None:
    path = broken(tmp_path, kind)
    for read in (read_image, read_mask, read_raster):
        with pytest.raises(DataError, match=sentence) as raised:
            read(path)
        assert str(raised.value).startswith(str(path))
        assert "\n" not in str(raised.value)


def with_preview(content: bytes, preview: bytes) -> bytes:
    """A camera's JPEG: a small picture with an end mark of its own within the header."""
    return content[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(preview)) + preview + content[2:]


def test_a_cut_jpeg_is_known_though_its_preview_is_whole(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    photo = with_preview(cv2.imencode(".jpg", noise)[1].tobytes(), cv2.imencode(".jpg", noise[:8, :8])[1].tobytes())
    (tmp_path / "whole.jpg").write_bytes(photo)
    assert read_image(tmp_path / "whole.jpg").shape == (64, 64, 3)
    (tmp_path / "cut.jpg").write_bytes(photo[: len(photo) * 3 // 4])
    with pytest.raises(DataError, match="cut off in the middle"):
        read_image(tmp_path / "cut.jpg")


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(cv2.imencode(".jpg", RGB)[1].tobytes() + bytes(100_000))
    assert read_image(tmp_path / "a.jpg").shape == RGB.shape


@pytest.mark.parametrize("suffix", [".tif", ".bmp"])
def test_other_formats_cut_in_half_are_refused(tmp_path: Path, suffix: str) -> None:
    whole = cv2.imencode(suffix, np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8))[1].tobytes()
    (tmp_path / f"a{suffix}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is not an image that can be read"):
        read_image(tmp_path / f"a{suffix}")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the image .*gone\.png: No such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(DataError, match="Is a directory"):
        read_image(tmp_path)


def test_a_mask_keeps_its_three_values(tmp_path: Path) -> None:
    plane = np.array([[0, 128, 255]], np.uint8)
    assert (read_mask(saved(tmp_path / "a.png", plane)) == plane).all()
    assert (read_mask(saved(tmp_path / "b.png", np.repeat(plane[..., None], 3, 2))) == plane).all()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([0, 1], r"got \[0, 1\]; it seems to hold 0 and 1, multiply it by 255"),
        ([1, 1], "it seems to hold 0 and 1"),
        ([0, 254], r"must hold 255 \(road\), 0 and 128 \(ignored\) only, got \[0, 254\]$"),
    ],
)
def test_a_mask_of_other_values_says_which(tmp_path: Path, values: list[int], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read_mask(saved(tmp_path / "a.png", np.array([values], np.uint8)))


def test_a_mask_of_sixteen_bits_is_no_mask(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got \[0, 65535\]"):
        read_mask(saved(tmp_path / "a.png", np.array([[0, 65535]], np.uint16)))


def test_a_coloured_mask_or_raster_is_refused_and_not_read_by_its_red(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.array([[[0, 0, 255], [0, 255, 0]]], np.uint8))
    for read in (read_mask, read_raster):
        with pytest.raises(DataError, match=r"a\.png is a picture in colours; expected one grey plane"):
            read(path)


@pytest.mark.parametrize("array", [RGB, RGB[..., 0], RGB[::-1, ::2], RGB[:1, :1]])
def test_a_png_comes_back_as_it_was(tmp_path: Path, array: np.ndarray) -> None:
    write_png(tmp_path / "new" / "a.png", array)
    read = read_image(tmp_path / "new" / "a.png")
    assert (read == (array if array.ndim == 3 else array[..., None])).all()


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4), bool), np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4)],
)
def test_what_is_no_picture_is_not_encoded(tmp_path: Path, array: Any) -> None:
    with pytest.raises(DataError, match="cannot encode an array of shape"):
        encode_png(array)
    with pytest.raises(DataError, match="cannot encode"):
        write_jpeg(tmp_path / "a.jpg", array)
    assert os.listdir(tmp_path) == []


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot write .*a\.png: the disk is full"):
        write_png(tmp_path / "a.png", RGB)
    assert os.listdir(tmp_path) == []
