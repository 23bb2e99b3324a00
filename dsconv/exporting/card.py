"""Writes the metadata of an export's files, and its model card."""

from pathlib import Path

from dsconv.data.source import public_name
from dsconv.errors import on_one_line
from dsconv.reporting.markdown import plain, plain_table
from dsconv.reporting.page import read_report
from dsconv.reporting.sections import percent
from dsconv.training.network import count_parameters

# Keys of the run's `dataset` that define how its data is read and split.
OF_DATA = ('validation_fraction', 'fold', 'train_fraction', 'splits')
OF_DATA += ('image_key', 'label_key', 'split_key', 'group_key', 'train_fingerprint')
RESIZED = {
    'squash': 'squashed to',
    'crop': 'the square in its middle resized to',
    'pad': 'resized to fit into the middle of a square of grey (128) of',
}
PREPARATION = (
    'the EXIF orientation applied, transparency on white, {resized} {size}×{size} by an antialiased bilinear filter '
    '(Pillow: resize, BILINEAR), {colour}'
)


def metadata(network, workdir: Path, float_input: bool, licence: str | None = None) -> dict:
    """Returns the metadata that is stored in the files as JSON: `class_names`, `image_size`, `channels`, `input`, …."""
    dataset = network.config.dataset
    report = read_report(workdir) or {}
    if report.get('checkpoint_step') != network.step:
        report = {}
    colour = 'RGB' if dataset.channels == 3 else 'grey by ITU-R 601'
    return {
        'title': on_one_line(f'{network.config.model.name} trained on {public_name(dataset.name)}'),
        'class_names': list(dataset.class_names),
        'image_size': dataset.image_size,
        'channels': dataset.channels,
        'resize': dataset.resize,
        'temperature': network.temperature,
        'input': 'float32' if float_input else 'uint8',
        'preparation': PREPARATION.format(resized=RESIZED[dataset.resize], size=dataset.image_size, colour=colour),
        'licence': licence,
        'dataset': {'name': public_name(dataset.name), **{key: dataset[key] for key in OF_DATA}},
        'parameters': count_parameters(network.variables),
        'checkpoint_step': network.step,
        'accuracy': report.get('accuracy'),
        'split': report.get('split'),
    }


def labels(class_names) -> str:
    """Returns the content of `labels.txt`: one class name per line."""
    return ''.join(f'{on_one_line(name)}\n' for name in class_names)


def table(report: dict) -> tuple[list[str], list[list[str]]]:
    """Returns the header and the rows of a table with the results of each file."""
    header = ['file', 'precision', 'kB', 'largest difference', 'top-1 agreement', 'accuracy', 'one picture, ms']
    jax_accuracy = '' if report['accuracy_jax'] is None else percent(report['accuracy_jax'])
    rows = [['in JAX', 'float32', '', '', '', jax_accuracy, f'{report["milliseconds_jax"]:.2f}']]
    for file in report['files']:
        accuracy = '' if file['accuracy'] is None else percent(file['accuracy'])
        if file['loss_of_accuracy']:
            accuracy += f' ({-100 * file["loss_of_accuracy"]:+.2f})'
        took = '' if file['milliseconds'] is None else f'{file["milliseconds"]:.2f}'
        kilobytes, differs = f'{file["bytes"] / 1000:.0f}', f'{file["max_difference"]:.1e}'
        rows.append([file['file'], file['precision'], kilobytes, differs, percent(file['agreement']), accuracy, took])
    return header, rows


def write(report: dict) -> str:
    """Returns the model card, with the front matter that the Hugging Face hub reads."""
    size, channels = report['image_size'], report['channels']
    takes = 'uint8, 0 to 255' if report['input'] == 'uint8' else 'float32, 0 to 1'
    scored = ''
    if report['accuracy'] is not None:
        scored = f' The run scored {percent(report["accuracy"])} on the {report["split"]} split.'
    tags = ', '.join(dict.fromkeys(['dsconv', *(file['format'] for file in report['files'])]))
    front = ['---', 'pipeline_tag: image-classification', f'tags: [{tags}]', '---']
    if licence := report['licence']:
        front.insert(1, f'license: {licence.lower()}')
    parts = [
        '\n'.join(front),
        f'# {plain(report["title"])}',
        f'The network distinguishes {len(report["class_names"])} classes: {plain(", ".join(report["class_names"]))}. '
        f'It always names one of them, even for a picture that shows none.{scored}',
        '## Input and output',
        f'`image`: `(1, {size}, {size}, {channels})`, {takes} (ONNX and StableHLO take any number of pictures; the '
        f'int8 file takes uint8). Normalization is included. Preparation of a picture: {report["preparation"]}. '
        f'`probabilities`: `(1, {len(report["class_names"])})`, in the order of `labels.txt`; the int8 file gives them '
        'as uint8, in 256ths.',
        '## Checked',
        f'Each file was run by its own runtime on {report["pictures"]:,} pictures, {plain(report["checked_on"])}; '
        'times are CPU time of one thread, measured in turn.',
        plain_table(*table(report)),
        *(_chip(file) for file in report['files'] if file['format'] == 'c'),
        f'{f"Licence: {licence}. " if licence else ""}Made by `python -m dsconv.export`.',
    ]
    return '\n\n'.join(parts) + '\n'


def _chip(file):
    """Returns a paragraph on the operators and the memory that the C array requires of a microcontroller."""
    operators = ', '.join(f'{count} {name}' for name, count in file['operators'].items())
    lacks = ', '.join(file['missing'])
    lacks = f'lacks {lacks}: the network does not run there' if lacks else 'has all of them'
    return (
        f'`model.cc` for a microcontroller: {file["macs"] / 1e6:.1f} million multiply-accumulates, '
        f'{file["bytes_of_model"] / 1000:.0f} kB of flash, an arena of about {file["arena_bytes"] / 1000:.0f} kB '
        f'(activations only; at most {file["peak_bytes"] / 1000:.0f} kB are in use at the same time). Operators: '
        f'{operators}. TensorFlow Lite Micro {lacks}.'
    )
