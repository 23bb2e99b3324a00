"""python -m dsconv.preflight --config=configs/small.py --topology=v3-8: estimates a run on a TPU without a TPU."""

import json

from dsconv import cli
from dsconv.errors import InputError, beginning_with


def preflight(arguments) -> None:
    """Prints the estimate for each slice, as text or JSON, and writes the JSON to `--output` if set."""
    from dsconv import config as configuration
    from dsconv.config_checks import resolve_without_data
    from dsconv.data.splits import Division
    from dsconv.files import check_output, is_directory, make_directory, write_json
    from dsconv.models.complexity import layer_costs
    from dsconv.performance import step_cost
    from dsconv.performance.topology import topology_devices
    from dsconv.training.distillation import ALIKE
    from dsconv.training.network import build_network, image_shape

    if arguments.output and is_directory(arguments.output):
        raise InputError(f'--output={arguments.output} is a directory: give the name of a file')
    if arguments.output:
        check_output(arguments.output.parent)
    slices = {name: topology_devices(name) for name in arguments.topology.split(',')}
    config = configuration.load(arguments.config, arguments.overrides)
    if config.loss.teachers:  # the data, which is not read here, is like theirs
        first = config.loss.teachers[0]
        with beginning_with(f'loss.teachers={first}: '):
            teacher = configuration.load_run(configuration.find_workdir(first))
        config.dataset.update({key: teacher.dataset[key] for key in ALIKE if config.dataset[key] is None})
    images = arguments.images or Division.of({'train': 50_000}, config.dataset).sizes['train']
    config = resolve_without_data(config, images)
    if config.batch_size > images:
        raise InputError(f'batch_size={config.batch_size} is more than the {images} images: set a higher --images')
    macs = sum(row.macs for row in layer_costs(build_network(config), image_shape(config)))
    results = {name: step_cost.estimate(config, macs, images, name, devices) for name, devices in slices.items()}
    (first, *others) = results.values()
    shown = results if others else first
    print(json.dumps(shown) if arguments.json else step_cost.as_text(results, config))
    if arguments.output:
        make_directory(arguments.output.parent)
        write_json(arguments.output, shown)


def flags() -> cli.Parser:
    parser = cli.parser('preflight', 'Compiles a training step for a TPU slice, without a TPU, and estimates its time.')
    cli.add_config_flag(parser)
    text = "e.g. v3-8, or the compiler's name, v3:2x2x1; several, e.g. v3-8,v4-8, are printed as a table"
    parser.add_argument('--topology', required=True, metavar='SLICES', help=text)
    text = "training images in an epoch (default: CIFAR-10's 50000, less what the config holds out)"
    parser.add_argument('--images', type=cli.positive, metavar='N', help=text)
    parser.add_argument(
        '--json', action='store_true', help='prints one JSON object: the estimate, or one per slice, by name'
    )
    parser.add_argument('--output', type=cli.path, metavar='FILE', help='writes the same JSON object to a file')
    return parser


if __name__ == '__main__':
    cli.run(flags(), preflight)
