"""Writes the smallest 64-bit Windows executable that can be signed: one section whose code is `ret`."""

import struct
import sys

section = b".text".ljust(8, b"\0") + struct.pack("<6I2HI", 1, 0x1000, 512, 512, 0, 0, 0, 0, 0x60000020)
optional = struct.pack("<H2B5I", 0x20B, 14, 0, 512, 0, 0, 0x1000, 0x1000)
optional += struct.pack("<Q2I6H4I2H", 0x140000000, 0x1000, 512, 6, 0, 0, 0, 6, 0, 0, 0x2000, 512, 0, 3, 0x8160)
optional += struct.pack("<4Q2I", 1 << 20, 1 << 12, 1 << 20, 1 << 12, 0, 16) + bytes(16 * 8)
header = b"PE\0\0" + struct.pack("<2H3I2H", 0x8664, 1, 0, 0, 0, len(optional), 0x22) + optional + section
stub = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x80)
image = (stub.ljust(0x80, b"\0") + header).ljust(512, b"\0") + b"\xc3".ljust(512, b"\0")
with open(sys.argv[1], "wb") as file:
    file.write(image)
