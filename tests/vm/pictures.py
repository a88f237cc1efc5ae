#!/usr/bin/env python3
"""Writes pictures of vivid's first test pattern, 75 % colour bars, to teach the virtual machine's recipe from.

    pictures.py FOLDER [COUNT]

They are 320x180, as the camera's frames, each of a slightly other brightness and with more or less noise, down to the
camera's none: a recipe asks for parts that differ.
"""

import pathlib
import random
import struct
import sys
import zlib

WIDTH, HEIGHT = 320, 180
BARS = [(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191), (0, 0, 0)]


def png(rows):
    """The bytes of an RGB picture, without any library for pictures."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows), 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def picture(number):
    dice = random.Random(number)
    light, noise = dice.uniform(0.97, 1.03), number % 4
    for _ in range(HEIGHT):
        row = []
        for x in range(WIDTH):
            grain = dice.randint(-noise, noise)
            row += [max(0, min(255, round(value * light) + grain)) for value in BARS[x * 8 // WIDTH]]
        yield row


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(int(sys.argv[2]) if len(sys.argv) > 2 else 16):
        (folder / f"{number:02}.png").write_bytes(png(picture(number)))


main()
