"""python -m dsconv.show_augment --config=configs/small.py: a picture of what the augmentation does to images."""

import tempfile
from pathlib import Path

from dsconv import cli
from dsconv.errors import InputError
from dsconv.files import is_remote, make_directory, replace_file


def show_augment(arguments) -> None:
    """Writes the contact sheet and prints its path."""
    from dsconv import config as configuration

    _check_output(arguments.output)
    config = configuration.load(arguments.config, arguments.overrides)

    from dsconv.augment.samples import operation_blocks, training_blocks
    from dsconv.data import train_batches
    from dsconv.reporting.contact_sheet import contact_sheet
    from dsconv.training.setup import open_data

    _, split, config = open_data(config)
    batches = train_batches(split, batch_size=config.batch_size, seed=config.seed, start_step=0, num_steps=1)
    images, labels = next(batches)
    panels = operation_blocks(images, config.augment.fill), training_blocks(config, images, labels)
    replace_file(arguments.output, contact_sheet(panels))
    print(arguments.output)


def _check_output(path: Path) -> None:
    """Raises InputError where no PNG file can be written, before any work."""
    if path.suffix.lower() != '.png':
        raise InputError(f'--output={path} must end in .png')
    if path.is_dir():
        raise InputError(f'--output={path} is a directory: name a file')
    try:
        if is_remote(path):
            make_directory(path.parent)
            return
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f'--output={path} cannot be written: {error.strerror}') from error


def flags() -> cli.Parser:
    parser = cli.parser('show_augment', 'Draws what the augmentation that a config describes does to images.')
    cli.add_config_flag(parser)
    output = dict(type=cli.path, default=Path('augment.png'))
    parser.add_argument('--output', **output, metavar='PNG', help='default: augment.png')
    return parser


if __name__ == '__main__':
    cli.run(flags(), show_augment)
