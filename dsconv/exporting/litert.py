"""LiteRT (.tflite) files: float32 by way of StableHLO, float16 weights, or 8-bit integers throughout."""

import contextlib
import functools
import io
import warnings

import jax
import numpy as np

from dsconv.exported import METADATA, describe, quiet_runtime, sealed
from dsconv.exporting.card import labels
from dsconv.exporting.graph import Graph, run

SIGNATURE = 'serving_default'
SAMPLES = 200  # values of a tensor that are kept of a picture
SHARES = np.linspace(0.2, 1, 33)  # of the least and the greatest value, that the end of a range may be
WITH_WEIGHTS = ('FULLY_CONNECTED', 'CONV_2D', 'DEPTHWISE_CONV_2D')


def to_litert(graph: Graph) -> bytes:
    """Returns the file of a graph in float32: one image → its probabilities."""
    from litert_converter import converter_api_ext as converter
    from litert_converter.mlir import ir, passmanager

    first = graph.nodes[0]
    image = jax.ShapeDtypeStruct(first.shape, first.dtype)
    lowered = jax.export.export(jax.jit(functools.partial(run, graph)), platforms=['cpu'])(image)
    with ir.Context() as context:
        converter.prepare_mlir_context(context)
        module = ir.Module.parse(str(lowered.mlir_module()))
        converter.set_signature(module.operation, SIGNATURE, ['image'], ['probabilities'])
        passes = passmanager.PassManager('builtin.module')
        converter.run_convert_to_tfl_passes(module, passes, converter.ConvertToTFLConfig())
        passes.run(module.operation)
        return converter.export_flatbuffer_to_bytes(module.operation)


def to_float16(file: bytes) -> bytes:
    """Returns a float32 file with its weights in float16; it still computes in float32."""
    from litert_quantizer import qtyping, quantizer

    half = quantizer.Quantizer(bytearray(file))
    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    options = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
    )
    for name in WITH_WEIGHTS:
        half.update_quantization_recipe('.*', name, options, quantizer.AlgorithmName.FLOAT_CASTING)
    return _quantized(half, None)


def to_int8(file: bytes, pictures: np.ndarray) -> bytes:
    """Returns a file in 8-bit integers, weights by channel, whose image and probabilities are uint8.

    Args:
      file: float32, of a graph whose input is float32.
      pictures: uint8 `(n, height, width, channels)`, by which the ranges of the activations are measured.
    """
    from litert_quantizer import quantizer, recipe

    integers = quantizer.Quantizer(bytearray(file))
    integers.load_quantization_recipe(recipe.static_wi8_ai8())
    rounded = _quantized(integers, _ranges(file, pictures))
    return _with_bytes_outside(_unbiased(rounded, file, pictures))


def with_metadata(file: bytes, metadata: dict) -> bytes:
    """Returns a .tflite file that holds `metadata` as JSON and its class names, a line each."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = _parsed(file)
    model.metadata = model.metadata or []
    for name, text in ((METADATA, describe(metadata)), ('labels.txt', labels(metadata['class_names']))):
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(text.encode(), np.uint8)
        entry.name, entry.buffer = name, len(model.buffers)
        model.buffers.append(buffer)
        model.metadata.append(entry)
    model.description = metadata['title']
    return sealed(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))


def _parsed(file):
    """Returns a file as an object that holds all constants; from 256 kB on the quantizer puts them behind it."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(file))
    for buffer in model.buffers:
        if buffer.offset:
            buffer.data = np.frombuffer(file, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def _quantized(quantizer, ranges) -> bytes:
    quiet = io.StringIO()  # of progress bars and advice
    with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet), warnings.catch_warnings(action='ignore'):
        return bytes(quantizer.quantize(ranges).quantized_model)


def _interpreter(file):
    """Returns an interpreter that keeps every tensor."""
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings(action='ignore'):  # that this takes memory
        interpreter = Interpreter(model_content=file, experimental_preserve_all_tensors=True, num_threads=1)
    with quiet_runtime():
        interpreter.allocate_tensors()
    return interpreter


def _ranges(file, pictures):
    """Returns tensor's name → {'min', 'max'}: those of the least squared error of rounding the values of `pictures`.

    Of the image [0, 1], of which uint8 is 255 steps. The quantizer's own calibration takes a fifth of a second a
    picture, this some milliseconds.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    interpreter = _interpreter(file)
    image = interpreter.get_input_details()[0]
    model = _parsed(file)
    (graph,) = model.subgraphs
    is_weight = [model.buffers[tensor.buffer].data is not None for tensor in graph.tensors]
    before_gelu = {
        graph.tensors[operator.inputs[0]].name.decode()
        for operator in graph.operators
        if flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex) == 'GELU'
    }
    details = zip(is_weight, interpreter.get_tensor_details(), strict=False)  # the interpreter has some of its own, too
    tensors = [tensor for is_weight, tensor in details if not is_weight]
    seen, axes, generator = {tensor['name']: [] for tensor in tensors}, {}, np.random.default_rng(0)
    for picture in pictures:
        interpreter.set_tensor(image['index'], np.float32(picture[None]) / 255)
        interpreter.invoke()
        for tensor in tensors:
            with contextlib.suppress(ValueError):  # no operation computes it
                values = interpreter.get_tensor(tensor['index'])
                axes[tensor['name']] = (1,) * values.ndim
                places = generator.integers(0, values.size, min(SAMPLES, values.size))
                seen[tensor['name']].append(values.ravel()[places])
    ranges = {
        name: _best_range(np.concatenate(values), _gelu if name in before_gelu else None)
        for name, values in seen.items()
        if values
    }
    ranges[image['name']] = 0, 1
    return {
        name: {'min': np.full(axes[name], low, np.float32), 'max': np.full(axes[name], high, np.float32)}
        for name, (low, high) in ranges.items()
    }


def _unbiased(rounded, file, pictures):
    """Adds to the biases of the head by how much its mean logits differ from those of the float32 file."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = _parsed(rounded)
    (graph,) = model.subgraphs
    logits = int(graph.operators[-1].inputs[0])  # the last operation is the softmax
    head = next(operator for operator in graph.operators if logits in operator.outputs)
    bias = graph.tensors[head.inputs[2]]
    name = graph.tensors[logits].name.decode()
    missing = _mean(file, name, pictures) - _mean(rounded, name, pictures)
    values = np.frombuffer(bytes(model.buffers[bias.buffer].data), np.int32)
    values = values + np.int32(np.round(missing / np.float64(bias.quantization.scale)))
    model.buffers[bias.buffer].data = np.frombuffer(values.astype('<i4').tobytes(), np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _mean(file, name, pictures):
    """Returns the mean over pictures of a tensor of a file, as real numbers."""
    interpreter = _interpreter(file)
    (image,) = interpreter.get_input_details()
    (tensor,) = (tensor for tensor in interpreter.get_tensor_details() if tensor['name'] == name)
    scale, zero = tensor['quantization']
    total = 0
    for picture in pictures:
        image_of_file = (
            np.float32(picture[None]) / 255 if image['dtype'] == np.float32 else np.int8(picture[None] - 128.0)
        )
        interpreter.set_tensor(image['index'], image_of_file)
        interpreter.invoke()
        value = np.float64(interpreter.get_tensor(tensor['index'])[0])
        total = total + (value if tensor['dtype'] == np.float32 else (value - zero) * scale)
    return total / len(pictures)


def _best_range(values, activation=None):
    """Returns (low, high) by which 255 steps round `values` with the least squared error; zero lies within.

    Where an activation alone takes them, the error is that of its results: what lies far below zero needs no steps.
    """
    values = values[:: max(1, len(values) // 20_000)]
    wanted = activation(values) if activation else values

    def error(low, high):
        step = (high - low) / 255 or 1.0
        zero = np.round(-low / step)
        rounded = (np.clip(np.round(values / step) + zero, 0, 255) - zero) * step
        return np.square((activation(rounded) if activation else rounded) - wanted).mean()

    lowest, highest = min(values.min(), 0), max(values.max(), 0)
    low, high = lowest, highest
    for _ in range(2):
        high = min((highest * share for share in SHARES), key=lambda end: error(low, end))
        low = min((lowest * share for share in SHARES), key=lambda end: error(end, high))
    return low, high


def _gelu(x):
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def _with_bytes_outside(file):
    """Puts a conversion before the int8 image and after the int8 probabilities, so that both are uint8."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = _parsed(file)
    (graph,) = model.subgraphs
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    code.version = 2
    model.operatorCodes.append(code)
    for is_input, ends in ((True, graph.inputs), (False, graph.outputs)):
        inner = int(ends[0])
        outer = schema.TensorT()
        outer.__dict__.update(graph.tensors[inner].__dict__)
        outer.name, outer.type = b'image_uint8' if is_input else b'probabilities_uint8', schema.TensorType.UINT8
        outer.quantization = schema.QuantizationParametersT()
        outer.quantization.scale = graph.tensors[inner].quantization.scale
        outer.quantization.zeroPoint = [int(graph.tensors[inner].quantization.zeroPoint[0]) + 128]
        number = len(graph.tensors)
        graph.tensors.append(outer)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.inputs, operator.outputs = ([number], [inner]) if is_input else ([inner], [number])
        operator.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
        operator.builtinOptions = schema.QuantizeOptionsT()
        graph.operators.insert(0 if is_input else len(graph.operators), operator)
        ends[0] = number
        for signature in model.signatureDefs:
            for entry in signature.inputs if is_input else signature.outputs:
                entry.tensorIndex = number
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
