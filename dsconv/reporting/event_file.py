"""Writes TensorBoard event files of scalars, without TensorBoard or TensorFlow.

The files are TFRecords (tensorflow/core/lib/io/record_writer.h) of `Event` messages (tensorboard/compat/proto).
"""

import os
import platform
import struct
import time

CASTAGNOLI = 0x82F63B78  # the polynomial of CRC-32C, its bits reversed


def new_name() -> str:
    """Returns a unique file name that TensorBoard recognises."""
    seconds, rest = divmod(time.time_ns(), 10**9)
    return f'events.out.tfevents.{seconds}.{platform.node()}.{os.getpid()}.{rest}'


def first_event() -> bytes:
    """Returns the event that a file begins with: the file version."""
    return _event(_bytes(3, b'brain.Event:2'))


def scalars_event(step: int, scalars: dict[str, float]) -> bytes:
    """Returns an event with a value for each tag. Values are stored as float32."""
    values = (_bytes(1, tag.encode()) + b'\x15' + struct.pack('<f', value) for tag, value in scalars.items())
    return _event(b'\x10' + _varint(step) + _bytes(5, b''.join(_bytes(1, value) for value in values)))


def _event(fields: bytes) -> bytes:
    event = b'\x09' + struct.pack('<d', time.time()) + fields
    length = struct.pack('<Q', len(event))
    return length + _masked_crc(length) + event + _masked_crc(event)


def _bytes(field: int, content: bytes) -> bytes:
    """Encodes a protocol buffer field that is a string, bytes or a message."""
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def _masked_crc(content: bytes) -> bytes:
    crc = 2**32 - 1
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (CASTAGNOLI if crc & 1 else 0)
    crc ^= 2**32 - 1
    return struct.pack('<I', ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)
