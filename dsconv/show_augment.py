"""python -m dsconv.show_augment --config=configs/small.py: draws what the augmentation does to images."""

from dsconv import cli
from dsconv.errors import InputError
from dsconv.files import check_output, make_directory, replace_file


def show_augment(arguments) -> None:
    """Writes the contact sheet and prints its path."""
    from dsconv import config as configuration

    output = arguments.output
    if output.suffix.lower() != '.png' or output.is_dir():
        raise InputError(f'--output={output} must be a file that ends in .png')
    config = configuration.load(arguments.config, arguments.overrides)
    check_output(output.parent)

    from dsconv.augment.samples import operation_blocks, training_blocks
    from dsconv.data import train_batches
    from dsconv.reporting.contact_sheet import contact_sheet
    from dsconv.training.setup import open_data, open_source

    is_run = configuration.is_run(arguments.config)
    source = open_source(config, configuration.find_file(arguments.config).parent if is_run else None)
    _, split, config = open_data(config, source)
    batches = train_batches(split, batch_size=config.batch_size, seed=config.seed, start_step=0, num_steps=1)
    images, labels = next(batches)
    panels = operation_blocks(images, config.augment.fill), training_blocks(config, images, labels)
    make_directory(output.parent)
    replace_file(output, contact_sheet(panels))
    print(output)


def flags() -> cli.Parser:
    parser = cli.parser('show_augment', 'Draws images as augmented by a config.')
    cli.add_config_flag(parser)
    parser.add_argument('--output', type=cli.path, default='augment.png', metavar='PNG', help='default: augment.png')
    return parser


if __name__ == '__main__':
    cli.run(flags(), show_augment)
