"""Writes the directory of an export: the checked files, `export.json`, `labels.txt` and a model card."""

import dataclasses
import functools
import importlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from dsconv import config as configuration
from dsconv.errors import InputError
from dsconv.exported import METADATA, open_exported
from dsconv.exporting import FORMATS, card, check, micro, web_page
from dsconv.exporting.network import Exported
from dsconv.files import new_directory, require_new, to_json, write_json
from dsconv.models.complexity import layer_costs
from dsconv.training.calibration import read_temperature
from dsconv.training.examples import OF_ITS_PLACE, OF_PUBLIC, say_where
from dsconv.training.network import image_shape, restore_network
from dsconv.training.run import is_published


def export(output: Path, options) -> tuple[dict, list[str]]:
    """Exports the network of a run into a new directory, which appears only when it is complete.

    Args:
      output: the new directory.
      options: `workdir`, of a run or of a published network; `format`, keys of `FORMATS`; `precision`, values of
        `PRECISIONS`, for the formats that support them; `checkpoint`; `pictures` and `runtime`, paths or None;
        `check_pictures` and `calibration_pictures`, counts; `float_input`; `licence` or None; `largest_loss`, a
        fraction; `overrides`, `'dataset.key=value'` strings that locate the data of the run.

    Returns:
      The content of `export.json`, and one message for each file that fails its check (`check.fault`). If there is
      any message, the directory is not created.

    Raises:
      InputError: the run or the checkpoint does not exist, `output` exists or is in an object store, a package is not
        installed, two options do not match, or there are no pictures for the int8 calibration.
    """
    require_new(output)
    _check_formats(options)
    runtime = web_page.read_runtime(options.runtime) if 'web' in options.format else None
    config = configuration.load_run(options.workdir)
    _, variables, step = restore_network(options.workdir, config, options.checkpoint)
    network = Exported(config, jax.device_get(variables), step, read_temperature(options.workdir, step))
    say_where(config, options.overrides, OF_PUBLIC if is_published(options.workdir) else OF_ITS_PLACE)
    calibrating = options.calibration_pictures if 'int8' in options.precision else 0
    pictures = check.find_pictures(config, options.workdir, options.pictures, options.check_pictures, calibrating)
    with new_directory(output) as partial:
        report, faults = _write(partial, network, pictures, runtime, options)
        if faults:
            shutil.rmtree(partial)
    return report, faults


def _check_formats(options):
    formats, precisions = options.format, options.precision
    for name in formats:
        for package in FORMATS[name][0]:
            try:
                importlib.import_module(package)
            except ImportError as error:
                raise InputError(
                    f'--format={name} needs {package}, which is not installed: pip install -r requirements-export.txt'
                ) from error
        if not _written(name, precisions):
            raise InputError(f'--format={name} is written in {" or ".join(FORMATS[name][1])}: add it to --precision')
    if unused := set(precisions).difference(*(_written(name, precisions) for name in formats)):
        raise InputError(
            f'--precision={",".join(sorted(unused))} has no effect on --format={",".join(formats)}: leave it out'
        )
    if options.float_input and set(precisions) == {'int8'}:
        raise InputError('--float-input has no effect on int8 files, which take uint8: leave it out')
    if options.pictures and options.overrides:
        raise InputError(f'--pictures replaces the data of the run: leave --config.{options.overrides[0]} out')


def _written(name, precisions):
    """Returns those of `precisions` in which a format is written; for C, of which there is one file, the last one."""
    found = [precision for precision in FORMATS[name][1] if precision in precisions]
    return found[-1:] if name == 'c' else found


def _write(directory, network, pictures, runtime, options):
    metadata = card.metadata(network, options.workdir, options.float_input, options.licence)
    in_jax = network.reference()
    reference = _in_batches(in_jax, pictures.images)
    files, faults, timed = [], [], {'JAX': in_jax}
    for name, precision, file in _files(directory, network, pictures, runtime, metadata, options):
        run, path = _runner(file, network), str(file.relative_to(directory))
        result = {'file': path, 'format': name, 'precision': precision, 'bytes': file.stat().st_size}
        result |= check.compare(_in_batches(run, pictures.images), reference, pictures.labels)
        if name == 'c':
            content = micro.from_c(file.read_text())
            result |= {'bytes_of_model': len(content), **micro.needs(content)}
            result['macs'] = sum(layer.macs for layer in layer_costs(network.module(), image_shape(network.config)))
        files.append(result)
        if fault := check.fault(result, precision, options.largest_loss):
            faults.append(f'{path}: {fault}')
        if name != 'safetensors':
            timed[path] = run
    times = check.milliseconds(timed, pictures.images[0])
    for result in files:
        result['milliseconds'] = times.get(result['file'])
    report = metadata | {
        'checked_on': pictures.origin,
        'pictures': len(pictures.images),
        'calibration_pictures': None if pictures.calibration is None else len(pictures.calibration),
        'accuracy_jax': check.accuracy(reference, pictures.labels),
        'milliseconds_jax': times['JAX'],
        'files': files,
    }
    write_json(directory / 'export.json', report)
    (directory / 'labels.txt').write_text(card.labels(metadata['class_names']), encoding='utf-8')
    (directory / 'README.md').write_text(card.write(report), encoding='utf-8', errors='backslashreplace')
    return report, faults


def _files(directory, network, pictures, runtime, metadata, options) -> Iterator[tuple[str, str, Path]]:
    """Writes the files; yields (format, precision, path) for each file to check."""
    formats, graph = options.format, functools.cache(network.graph)
    if {'litert', 'c'} & set(formats):  # imported here because its packages are optional
        from dsconv.exporting import litert

    @functools.cache
    def converted(float_input):  # called once for all precisions
        return litert.to_litert(graph(float_input))

    @functools.cache
    def tflite(precision):
        if precision == 'int8':
            content = litert.to_int8(converted(True), pictures.calibration)
            return litert.with_metadata(content, metadata | {'input': 'uint8'})
        content = converted(options.float_input)
        return litert.with_metadata(litert.to_float16(content) if precision == 'float16' else content, metadata)

    def written(name, content):
        path = directory / name
        path.write_bytes(content)
        return path

    if 'litert' in formats:
        for precision in _written('litert', options.precision):
            suffix = '' if precision == 'float32' else f'.{precision}'
            yield 'litert', precision, written(f'model{suffix}.tflite', tflite(precision))
    if 'c' in formats:
        (precision,) = _written('c', options.precision)
        for name, array in micro.to_c(tflite(precision), metadata['title']).items():
            written(name, array.encode())
        yield 'c', precision, directory / 'model.cc'
    if {'onnx', 'web'} & set(formats):
        from dsconv.exporting.onnx_file import to_onnx

        content = to_onnx(graph(options.float_input), metadata)
        if 'onnx' in formats:
            yield 'onnx', 'float32', written('model.onnx', content)
        if 'web' in formats:
            web_page.write(directory / 'web', content, metadata, runtime)
            yield 'web', 'float32', directory / 'web' / 'model.onnx'
    if 'stablehlo' in formats:
        content = network.stablehlo(options.float_input).serialize()
        yield 'stablehlo', 'float32', written('model.stablehlo', content)
    if 'safetensors' in formats:
        from safetensors.numpy import save

        tensors = flatten_dict(network.variables, sep='/')  # keys such as 'params/block_0/depthwise/kernel'
        content = save(tensors, {METADATA: to_json(metadata)})
        yield 'safetensors', 'float32', written('model.safetensors', content)


def _runner(file, network):
    """Returns a function that runs a file: uint8 images → probabilities, a NumPy array."""
    if file.suffix == '.stablehlo':
        restored = jax.export.deserialize(bytearray(file.read_bytes()))
        call = jax.jit(restored.call)
        is_float = restored.in_avals[0].dtype == np.float32
        return lambda images: np.asarray(call(np.float32(images) / 255 if is_float else images))
    if file.suffix == '.safetensors':
        from safetensors.numpy import load_file

        return dataclasses.replace(network, variables=unflatten_dict(load_file(file), sep='/')).reference()
    if file.suffix == '.cc':
        with tempfile.NamedTemporaryFile(suffix='.tflite') as copy:
            Path(copy.name).write_bytes(micro.from_c(file.read_text()))
            return open_exported(copy.name).run
    return open_exported(file).run


def _in_batches(function, images):
    """Runs batches of at most 100 images, in at most two batch sizes, because each size is compiled separately."""
    parts = np.array_split(images, -(-len(images) // 100))
    return np.concatenate([function(part) for part in parts])
