"""Prepares a .tflite file for TensorFlow Lite Micro: a C array, the operators that Micro lacks, the required memory."""

import re

import numpy as np

# The operators of Micro's micro_mutable_op_resolver.h that classifiers use.
OPERATORS = """
ABS ADD AVERAGE_POOL_2D BATCH_MATMUL BROADCAST_TO CAST CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEQUANTIZE
DIV ELU EQUAL EXP EXPAND_DIMS FILL FULLY_CONNECTED GATHER GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION LEAKY_RELU
LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL NEG NOT_EQUAL PACK
PAD PADV2 PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE RSQRT SELECT_V2 SLICE SOFTMAX SPLIT SPLIT_V SQRT
SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH TRANSPOSE UNPACK
"""
ALIGNMENT = 16  # bytes


def to_c(file: bytes, source: str) -> dict[str, str]:
    """Returns the text of `model.h`, which names `source`, and of `model.cc`, a .tflite file as a C array."""
    rows = [file[start : start + 16] for start in range(0, len(file), 16)]
    array = ',\n'.join('    ' + ', '.join(f'0x{byte:02x}' for byte in row) for row in rows)
    header = (
        f'// {source}, by python -m dsconv.export.\n#pragma once\n\n'
        'extern const unsigned char g_model[];\nextern const unsigned int g_model_len;\n'
    )
    body = (
        f'#include "model.h"\n\nalignas({ALIGNMENT}) const unsigned char g_model[] = {{\n{array}}};\n'
        f'const unsigned int g_model_len = {len(file)};\n'
    )
    return {'model.h': header, 'model.cc': body}


def from_c(text: str) -> bytes:
    """Returns the bytes of the array in `model.cc`."""
    return bytes(int(byte, 16) for byte in re.findall(r'\b0x([0-9a-f]{2})\b', text))


def needs(file: bytes) -> dict:
    """Returns the requirements of a .tflite file on a microcontroller.

    Returns:
      `operators`: name → count; `missing`: the operators that Micro lacks; `arena_bytes`: memory of the activations,
      placed as by Micro's greedy planner, without the additional memory of its kernels; `peak_bytes`: the largest
      memory of activations that are alive at the same time.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(file))
    (graph,) = model.subgraphs
    names = [flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex) for operator in graph.operators]
    spans = _spans(model, graph)
    alive = [sum(size for size, first, last in spans if first <= step <= last) for step in range(len(names) + 1)]
    return {
        'operators': {name: names.count(name) for name in sorted(set(names))},
        'missing': sorted(set(names).difference(OPERATORS.split())),
        'arena_bytes': _greedy(spans),
        'peak_bytes': max(alive),
    }


def _spans(model, graph):
    """Returns (bytes, first step, last step) of each activation."""
    from ai_edge_litert import schema_py_generated as schema

    spans = {}
    for step, operator in enumerate(graph.operators):
        for index in (*operator.inputs, *operator.outputs):
            tensor = graph.tensors[index] if index >= 0 else None
            if tensor is not None and model.buffers[tensor.buffer].data is None:
                first = spans.get(index, (0, step))[1]
                types = schema.TensorType
                width = 1 if tensor.type in (types.INT8, types.UINT8, types.BOOL) else 4
                size = int(np.prod(tensor.shape)) * width
                spans[index] = -(-size // ALIGNMENT) * ALIGNMENT, first, step
    for index in graph.inputs:
        spans[index] = spans[index][0], 0, spans[index][2]
    return list(spans.values())


def _greedy(spans):
    """Returns the bytes that spans require when each is placed, largest first, at the lowest free offset."""
    placed = []
    for size, first, last in sorted(spans, reverse=True):
        offset = 0
        for start, length, other_first, other_last in sorted(placed):
            overlaps = first <= other_last and other_first <= last
            if overlaps and start < offset + size:
                offset = max(offset, start + length)
        placed.append((offset, size, first, last))
    return max(offset + size for offset, size, *_ in placed)
