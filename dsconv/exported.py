"""Runs an exported file, .tflite or .onnx, by its own runtime: no JAX, no checkpoint.

network = open_exported('exported/model.onnx')
network(images)    # uint8 (n, height, width, channels) → float32 (n, classes)
"""

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dsconv.data.unlabelled import Network
from dsconv.errors import InputError
from dsconv.files import is_file

METADATA = 'dsconv.json'  # in the file: what it takes and gives
KEYS = {'class_names', 'image_size', 'channels', 'resize', 'input'}
RUNTIMES = {'.tflite': ('LiteRT', 'ai_edge_litert.interpreter'), '.onnx': ('onnxruntime', 'onnxruntime')}


class ExportedNetwork(Network):
    """The network of a file, as `open_exported` returns it.

    Attributes:
      metadata: all that the file says of itself.
    """

    def __init__(self, run: Callable, metadata: dict):
        self._run = run
        self.metadata = metadata
        self.class_names = tuple(metadata['class_names'])
        self.image_size, self.channels = metadata['image_size'], metadata['channels']
        self.resize = metadata['resize']

    def run(self, images: np.ndarray) -> np.ndarray:
        return self._run(np.float32(images) / 255 if self.metadata['input'] == 'float32' else images)


def open_exported(path: str | Path, threads: int = 1) -> ExportedNetwork:
    """Opens a file of `python -m dsconv.export`.

    Raises:
      InputError: there is no such file, its runtime is not installed, or it is damaged or of another origin.
    """
    path = Path(path)
    if path.suffix not in RUNTIMES:
        raise InputError(f'{path} must be a .tflite or .onnx file of python -m dsconv.export')
    if not is_file(path):
        raise InputError(f'{path}: there is no such file')
    name, module = RUNTIMES[path.suffix]
    try:
        runtime = importlib.import_module(module)
    except ImportError as error:
        message = f'{path} needs {name}: pip install -r requirements-export.txt'
        raise InputError(message) from error
    try:
        content = path.read_bytes()
        run, metadata, classes = {'.tflite': _litert, '.onnx': _onnx}[path.suffix](runtime, content, threads)
    except InputError as error:
        raise InputError(f'{path} {error}') from error
    except Exception as error:  # of whatever kind the runtimes raise
        text = ' '.join(str(error).split())[:200]
        raise InputError(f'{path} is damaged, or not what its name says ({text}); export it again') from error
    if len(metadata['class_names']) != classes:
        raise InputError(f'{path} has {len(metadata["class_names"])} labels for {classes} classes; export it again')
    return ExportedNetwork(run, metadata)


def _metadata(text):
    metadata = json.loads(text) if text else {}
    if not metadata.keys() >= KEYS:
        raise InputError('says nothing of its classes: it is not of python -m dsconv.export')
    return metadata


def _litert(runtime, content, threads):
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != b'TFL3':  # LiteRT would end the process over some other files
        raise ValueError('no LiteRT file')
    model = schema.Model.GetRootAs(content)
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    buffers = [model.Buffers(entry.Buffer()) for entry in entries if entry.Name() == METADATA.encode()]
    metadata = _metadata(buffers[0].DataAsNumpy().tobytes() if buffers else '')
    interpreter = runtime.Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    (image,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images):
        rows = []
        for picture in images:  # the file is of one picture
            interpreter.set_tensor(image['index'], picture[None])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(answer['index'])[0])
        scale, zero = answer['quantization']
        rows = np.stack(rows)
        return rows if rows.dtype == np.float32 else (np.float32(rows) - zero) * np.float32(scale)

    return run, metadata, answer['shape'][-1]


def _onnx(runtime, content, threads):
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = runtime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
    metadata = _metadata(session.get_modelmeta().custom_metadata_map.get(METADATA, ''))
    return (lambda images: session.run(None, {'image': images})[0]), metadata, session.get_outputs()[0].shape[-1]
