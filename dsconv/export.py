"""python -m dsconv.export --workdir=DIR: exports the network of a run for other runtimes and checks each file."""

import functools
import re
from argparse import ArgumentTypeError

from dsconv import cli
from dsconv.errors import InputError, RunError
from dsconv.exporting import FORMATS, PRECISIONS


def export(arguments) -> None:
    """Writes the files and prints how they compare with the network in JAX."""
    import jax

    # An accelerator may multiply float32 at a lower precision, and may be in use by a training run.
    jax.config.update('jax_platforms', 'cpu')
    from dsconv.config import find_workdir
    from dsconv.exporting import bundle, card
    from dsconv.reporting import markdown_table
    from dsconv.training.run import output_of

    if 'int8' not in arguments.precision and (arguments.calibration_pictures or arguments.largest_loss is not None):
        raise InputError('--calibration-pictures and --largest-loss need --precision=int8: add it, or leave them out')
    if arguments.runtime and 'web' not in arguments.format:
        raise InputError('--runtime needs --format=web: add it, or leave it out')
    arguments.calibration_pictures = arguments.calibration_pictures or 500
    arguments.largest_loss = 0.01 if arguments.largest_loss is None else arguments.largest_loss
    workdir = arguments.workdir = find_workdir(arguments.workdir)
    output = arguments.output or output_of(workdir) / 'export'
    report, faults = bundle.export(output, arguments)
    print(f'{report["pictures"]:,} pictures: {report["checked_on"]}\n')
    print(markdown_table(*card.table(report)))
    if faults:
        raise RunError(f'{"; ".join(faults)}; nothing is exported')
    print(f'\n{output / "README.md"}')


def points(text: str) -> float:
    """Converts a number of percentage points to a fraction."""
    return cli.number(0, 100)(text) / 100


def licence(text: str) -> str:
    """Converts the identifier of a licence."""
    if not re.fullmatch(r'[A-Za-z0-9.+-]+', text):
        raise ArgumentTypeError(f'{text!r} must be an SPDX identifier, e.g. Apache-2.0')
    return text


def flags() -> cli.Parser:
    parser = cli.parser('export', 'Exports the network of a run for other runtimes, and checks each file.')
    parser.add_argument('--workdir', type=cli.path, required=True, metavar='DIR', help='workdir of the run')
    cli.add_checkpoint_flag(parser)
    text = f'one or more of {",".join(FORMATS)} (default: litert)'
    formats = functools.partial(cli.some_of, '--format', FORMATS)
    parser.add_argument('--format', type=formats, default=['litert'], metavar='NAME,…', help=text)
    text = f'of LiteRT and C files: one or more of {",".join(PRECISIONS)} (default: float32)'
    precisions = functools.partial(cli.some_of, '--precision', PRECISIONS)
    parser.add_argument('--precision', type=precisions, default=['float32'], metavar='NAME,…', help=text)
    text = 'a new directory (default: WORKDIR/export; of a published network runs/published/NAME/export)'
    parser.add_argument('--output', type=cli.path, metavar='DIR', help=text)
    text = 'pictures for checks and int8 calibration, instead of the data of the run; subfolders may be classes'
    parser.add_argument('--pictures', type=cli.path, metavar='FOLDER', help=text)
    text = 'number of pictures for the checks (default: 5000)'
    parser.add_argument('--check-pictures', type=cli.positive, default=5000, metavar='N', help=text)
    text = 'number of training pictures for the int8 calibration (default: 500)'
    parser.add_argument('--calibration-pictures', type=cli.positive, metavar='N', help=text)
    text = 'points of accuracy that int8 may lose (default: 1)'
    parser.add_argument('--largest-loss', type=points, metavar='POINTS', help=text)
    text = 'for --format=web: an installed npm package onnxruntime-web, or its archive, made by npm pack'
    parser.add_argument('--runtime', type=cli.path, metavar='PATH', help=text)
    text = (
        'licence of the network for the files and the model card, an SPDX identifier, e.g. Apache-2.0 (default: none)'
    )
    parser.add_argument('--licence', type=licence, metavar='NAME', help=text)
    text = 'the files take float32 images in [0, 1] instead of uint8 ones'
    parser.add_argument('--float-input', action='store_true', help=text)
    text = 'location of the data of the run; KEY is data_dir or archive, for a published network also root'
    cli.add_place_flag(parser, text)
    return parser


if __name__ == '__main__':
    cli.run(flags(), export)
