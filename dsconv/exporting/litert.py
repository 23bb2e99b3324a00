"""Writes LiteRT (.tflite) files: float32 through StableHLO, with float16 weights, or entirely in 8-bit integers."""

import collections
import copy
import functools
import warnings

import jax
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from litert_converter import converter_api_ext as converter
from litert_converter.mlir import ir, passmanager
from litert_quantizer import qtyping, quantizer, recipe
from litert_quantizer.utils.tfl_flatbuffer_utils import get_tensor_data

from dsconv.data.stratified import evenly
from dsconv.errors import InputError
from dsconv.exported import METADATA, metadata_text, quiet_runtime, sealed
from dsconv.exporting.graph import ACTIVATIONS, Node, run

SIGNATURE = 'serving_default'
SAMPLES = 200  # values sampled per tensor and picture
FOR_BIASES = 200  # pictures for the bias correction
SHARES = np.linspace(0.2, 1, 33)  # candidate ends of a range, as shares of the least and the greatest value
BEGINS = {'GELU': 'gelu_tanh', 'LOGISTIC': 'silu'}  # operation → the activation that begins with it
WITH_WEIGHTS = ('FULLY_CONNECTED', 'CONV_2D', 'DEPTHWISE_CONV_2D')


def to_litert(graph: list[Node]) -> bytes:
    """Returns the float32 file of a graph: one image → its probabilities."""
    image = jax.ShapeDtypeStruct(graph[0].shape, graph[0].dtype)
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
    """Returns a float32 file with its weights stored as float16; it still computes in float32."""
    half = quantizer.Quantizer(bytearray(file))
    for name in WITH_WEIGHTS:
        half.add_weight_only_config('.*', name, 16, algorithm_key=quantizer.AlgorithmName.FLOAT_CASTING)
    return _quantized(half, None)


def to_int8(file: bytes, pictures: np.ndarray) -> bytes:
    """Quantizes a file to 8-bit integers, weights per channel; its image and probabilities become uint8.

    Args:
      file: a float32 file of a graph with float32 input.
      pictures: uint8 `(n, height, width, channels)`, used to measure the ranges of the activations.

    Raises:
      InputError: an operation has a result that is not float32.
    """
    integers = quantizer.Quantizer(bytearray(file))
    integers.load_quantization_recipe(recipe.static_wi8_ai8())
    unsigned = qtyping.TensorQuantizationConfig(8, symmetric=False, dtype=qtyping.TensorDataType.UINT)
    outside = qtyping.OpQuantizationConfig(unsigned, compute_precision=qtyping.ComputePrecision.INTEGER)
    for end in ('INPUT', 'OUTPUT'):
        integers.update_quantization_recipe('.*', end, outside)
    rounded = _quantized(integers, _ranges(file, pictures))
    return _unbiased(rounded, file, pictures[evenly(len(pictures), FOR_BIASES)])


def with_metadata(file: bytes, metadata: dict) -> bytes:
    """Returns a .tflite file with `metadata` added as JSON, and its checksum."""
    model = _parsed(file)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(metadata_text(metadata).encode(), np.uint8)
    entry.name, entry.buffer = METADATA, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    model.description = metadata['title']
    return sealed(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))


def _parsed(file):
    """Parses a file with all its constants; from 256 kB on, the quantizer stores constants behind the flatbuffer."""
    return flatbuffer_utils.read_model_from_bytearray(np.frombuffer(file, np.uint8))


def _quantized(prepared: quantizer.Quantizer, ranges) -> bytes:
    with warnings.catch_warnings(action='ignore'):  # they only give advice
        return bytes(prepared.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model)


def _run_each(file, pictures, keep=True):
    """Runs the file on each picture; yields a function that maps a tensor's name to its dequantized values.

    With `keep`, which is slower, any tensor can be read; without it, only the outputs.
    """
    with warnings.catch_warnings(action='ignore'):  # a warning that this takes memory
        interpreter = Interpreter(model_content=file, experimental_preserve_all_tensors=keep, num_threads=1)
    with quiet_runtime():
        interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    details = {tensor['name']: tensor for tensor in interpreter.get_tensor_details()}

    def values(name):
        scale, zero = details[name]['quantization']
        tensor = interpreter.get_tensor(details[name]['index'])
        return (tensor - np.float32(zero)) * np.float32(scale) if scale else tensor

    for picture in pictures:
        is_float = image['dtype'] == np.float32
        interpreter.set_tensor(image['index'], np.float32(picture[None]) / 255 if is_float else picture[None])
        interpreter.invoke()
        yield values


def _ranges(file, pictures):
    """Returns tensor's name → {'min', 'max'}, the range that rounds its values on `pictures` with least squared error.

    The error of a channel is weighted by the squared weights of the layers that read it. The range of the image is
    [0, 1], 255 steps of uint8. The range of the probabilities is [0, 255/256], steps of 1/256, as LiteRT's softmax
    requires. The quantizer's own calibration takes 0.2 s per picture; this function takes a few milliseconds.
    """
    model = _parsed(file)
    (graph,) = model.subgraphs
    activations = _activations(model)
    computed = sorted({*graph.inputs, *(output for operator in graph.operators for output in operator.outputs)})
    if any(graph.tensors[index].type != schema.TensorType.FLOAT32 for index in computed):
        what = 'as attention and model.activation=gelu_exact do'
        raise InputError(f'this network uses comparisons, {what}, which int8 lacks: leave int8 out of --precision')
    names = {index: graph.tensors[index].name.decode() for index in computed}
    seen, generator = {index: ([], []) for index in computed}, np.random.default_rng(0)
    gains = _squared_gains(model)
    for values in _run_each(file, pictures):
        for index, (samples, weights) in seen.items():
            value = values(names[index]).ravel()
            chosen = generator.integers(0, value.size, min(SAMPLES, value.size))
            samples.append(value[chosen])
            weights.append(gains[index][chosen % len(gains[index])])
    ranges, known = {}, {graph.inputs[0]: (0, 1), graph.outputs[0]: (0, 255 / 256)}
    for index, sampled in seen.items():
        ends = known.get(index) or _best_range(*map(np.concatenate, sampled), activations.get(index))
        low, high = (np.full((1,) * len(graph.tensors[index].shape), end, np.float32) for end in ends)
        ranges[names[index]] = {'min': low, 'max': high}
    return ranges


def _activations(model):
    """Returns tensor → activation for tensors that nothing else reads. SiLU reads twice: in LOGISTIC and a product."""
    (graph,), found = model.subgraphs, {}
    for operator in graph.operators:
        name, source = flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex), operator.inputs[0]
        users = [other for other in graph.operators if source in other.inputs]
        beside = [other for other in users if other is not operator and operator.outputs[0] in other.inputs]
        if name in BEGINS and len(users) == 1 + len(beside) and len(beside) == (name == 'LOGISTIC'):
            found[source] = ACTIVATIONS[BEGINS[name]]
    return found


def _squared_gains(model):
    """Returns tensor → `(channels,)`: how much the layers that read the tensor amplify a channel's squared error."""
    (graph,) = model.subgraphs
    gains = collections.defaultdict(lambda: np.ones(1))
    for operator in reversed(graph.operators):
        name, gain = flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex), gains[operator.outputs[0]]
        arrays = {i: get_tensor_data(graph.tensors[i], model.buffers) for i in operator.inputs if i >= 0}
        constants = [np.square(array, dtype=np.float64) for array in arrays.values() if array is not None]
        if name in WITH_WEIGHTS:  # the last axis of the kernel is the channels that it reads
            gain = constants[0].reshape(-1, constants[0].shape[-1]).sum(0)
        elif name == 'MUL' and constants:
            factor = np.atleast_1d(constants[0])
            gain = gain * factor.reshape(-1, factor.shape[-1]).mean(0)
        for index in (index for index, array in arrays.items() if array is None):
            channels = graph.tensors[index].shape[-1]
            own = gain if gain.size == channels else np.full(channels, gain.mean())
            gains[index] = gains[index] + own if index in gains else own
    return gains


def _unbiased(rounded, file, pictures):
    """Corrects the bias of each layer, in order, so that its mean outputs match those of the float32 file.

    M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.2.
    Both outputs are first clipped to the range of the quantized tensor.
    """
    model = _parsed(rounded)
    (graph,) = model.subgraphs
    layers, ends = {}, {}
    for number, layer in enumerate(graph.operators):
        has_bias = len(layer.inputs) > 2 and layer.inputs[2] >= 0
        if has_bias and flatbuffer_utils.opcode_to_name(model, layer.opcodeIndex) in WITH_WEIGHTS:
            tensor = graph.tensors[layer.outputs[0]]
            scale, zero = tensor.quantization.scale[0], tensor.quantization.zeroPoint[0]
            layers[name := tensor.name.decode()] = number
            ends[name] = tuple(float(scale) * (end - int(zero)) for end in (-128, 127))
    wanted = _means(_run_each(file, pictures), ends)
    for name, number in layers.items():
        found = _means(_run_each(_up_to(number, model), pictures, keep=False), {name: ends[name]})
        missing, bias = wanted[name] - found[name], graph.tensors[graph.operators[number].inputs[2]]
        values = get_tensor_data(bias, model.buffers) + np.round(missing / np.float64(bias.quantization.scale))
        values = np.clip(values, -(2**31), 2**31 - 1)  # a channel whose weights are all 0 has a tiny step
        model.buffers[bias.buffer].data = np.frombuffer(values.astype('<i4').tobytes(), np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _up_to(number, model):
    """Returns the file of a model that ends after operator `number`, whose output becomes the output of the file."""
    model, graph = copy.copy(model), copy.copy(model.subgraphs[0])
    graph.operators = graph.operators[: number + 1]
    graph.outputs = graph.operators[-1].outputs
    model.subgraphs, model.signatureDefs = [graph], []
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _means(runs, ends):
    """Returns name → per-channel means of a tensor clipped to its `ends`, over all pictures of `_run_each`."""
    totals, count = dict.fromkeys(ends, 0), 0
    for values in runs:
        count += 1
        for name, (low, high) in ends.items():
            tensor = np.clip(values(name), low, high)
            totals[name] = totals[name] + tensor.reshape(-1, tensor.shape[-1]).mean(0, dtype=np.float64)
    return {name: total / count for name, total in totals.items()}


def _best_range(values, weights, activation=None):
    """Returns (low, high), including zero, whose 255 steps round `values` with the least weighted squared error.

    If only `activation` reads the values, the error is that of its results: values far below zero need no steps.
    """
    every = max(1, len(values) // 20_000)
    values, weights = values[::every], weights[::every]
    activation = activation or np.asarray
    wanted = np.asarray(activation(values))

    def error(low, high):
        step = (high - low) / 255 or 1.0
        zero = np.round(-low / step)
        rounded = (np.clip(np.round(values / step) + zero, 0, 255) - zero) * step
        return weights @ np.square(np.asarray(activation(rounded)) - wanted)

    lowest, highest = min(values.min(), 0), max(values.max(), 0)
    low, high = lowest, highest
    for _ in range(2):
        high = min((highest * share for share in SHARES), key=lambda end: error(low, end))
        low = min((lowest * share for share in SHARES), key=lambda end: error(end, high))
    return low, high
