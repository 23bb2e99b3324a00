"""Runs an exported .tflite or .onnx file with its own runtime, without JAX and without a checkpoint.

network = open_exported('exported/model.onnx')
network(images)    # uint8 (n, height, width, channels) → float32 (n, classes)
"""

import contextlib
import hashlib
import importlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dsconv.data.unlabelled import Network
from dsconv.errors import InputError
from dsconv.files import is_directory, is_file, name_beside, to_json, to_path

METADATA = 'dsconv.json'  # key of the metadata in a file
CHECKSUM = re.compile(rb'"sha256": "([0-9a-f]{64})"')  # in the metadata: covers all bytes of the file except these 64
RUNTIMES = {'.tflite': ('LiteRT', 'ai_edge_litert.interpreter'), '.onnx': ('onnxruntime', 'onnxruntime')}


class ExportedNetwork(Network):
    """The network of an exported file, as returned by `open_exported`.

    Attributes:
      metadata: the JSON object stored in the file.
    """

    def __init__(self, run: Callable, metadata: dict):
        self._run = run
        self.metadata = metadata
        self.class_names = tuple(metadata['class_names'])
        self.image_size, self.channels = metadata['image_size'], metadata['channels']
        self.resize = metadata['resize']

    def run(self, images: np.ndarray) -> np.ndarray:
        return self._run(np.float32(images) / 255 if self.metadata['input'] == 'float32' else images)


def metadata_text(metadata: dict) -> str:
    """Returns the metadata as the JSON text that is stored in a file, with zeros in place of the checksum."""
    return to_json(metadata | {'sha256': '0' * 64})


def sealed(content: bytes) -> bytes:
    """Returns a file that contains the text of `metadata_text`, with the zeros replaced by the checksum."""
    start, end = CHECKSUM.search(content).span(1)
    return content[:start] + _digest(content, start, end) + content[end:]


def _digest(content, start, end):
    return hashlib.sha256(content[:start] + content[end:]).hexdigest().encode()


def check_exported(path: str | Path) -> None:
    """Raises InputError unless `path` is a .tflite or .onnx file."""
    path = to_path(path)
    if path.suffix not in RUNTIMES:
        instead = ''
        if is_directory(path):
            files = ', '.join(sorted(each.name for each in path.iterdir() if each.suffix in RUNTIMES))
            instead = f'; the directory holds {files}' if files else '; give the directory of a run by --workdir'
        raise InputError(f'{path} must be a .tflite or .onnx file of python -m dsconv.export{instead}')
    if not is_file(path):
        near = name_beside(path, lambda each: each.suffix in RUNTIMES and is_file(each))
        raise InputError(f'{path}: there is no such file{near}')


def open_exported(path: str | Path) -> ExportedNetwork:
    """Opens a file written by `python -m dsconv.export`. The network runs on one thread.

    Raises:
      InputError: the file does not exist, is damaged or was not written by dsconv, or its runtime is not installed.
    """
    check_exported(path)
    path = to_path(path)
    name, module = RUNTIMES[path.suffix]
    try:
        runtime = importlib.import_module(module)
    except ImportError as error:
        raise InputError(f'{path} needs {name}: pip install -r requirements-export.txt') from error
    content = path.read_bytes()
    place = CHECKSUM.search(content)
    if not place:
        raise InputError(f'{path} has no checksum: it is damaged, too old or not written by dsconv; export it again')
    if place[1] != _digest(content, *place.span(1)):
        raise InputError(f'{path} is damaged, or was altered after its export: its checksum differs; export it again')
    try:
        return ExportedNetwork(*{'.tflite': _litert, '.onnx': _onnx}[path.suffix](runtime, content))
    except Exception as error:  # the runtimes raise errors of any type
        text = ' '.join(str(error).split())[:200]
        raise InputError(f'{path} cannot be opened by {name} ({text}); export it again') from error


@contextlib.contextmanager
def quiet_runtime():
    """Silences the messages that LiteRT writes to file descriptor 2, bypassing `sys.stderr`."""
    try:
        kept = os.dup(2)
    except OSError:  # the shell has closed it with `2>&-`
        yield
        return
    try:
        with open(os.devnull, 'wb') as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _litert(runtime, content):
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != b'TFL3':  # LiteRT would abort the process for some other files
        raise ValueError('it is another kind of file')
    model = schema.Model.GetRootAs(content)
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    (text,) = (model.Buffers(entry.Buffer()) for entry in entries if entry.Name() == METADATA.encode())
    interpreter = runtime.Interpreter(model_content=content, num_threads=1)
    with quiet_runtime():
        interpreter.allocate_tensors()
    (image,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images):
        rows = []
        for picture in images:  # the file takes one picture at a time
            interpreter.set_tensor(image['index'], picture[None])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(answer['index'])[0])
        scale, zero = answer['quantization']
        rows = np.stack(rows)
        return rows if rows.dtype == np.float32 else (np.float32(rows) - zero) * np.float32(scale)

    return run, json.loads(text.DataAsNumpy().tobytes())


def _onnx(runtime, content):
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = runtime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
    metadata = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
    return (lambda images: session.run(None, {'image': images})[0]), metadata
