"""python -m dsconv.preflight --config=configs/small.py --topology=v3-8: a run on a TPU, estimated without one."""

import json

from dsconv import cli

CIFAR10_TRAINING_IMAGES = 50_000


def preflight(arguments) -> None:
    """Prints the estimate, as text or JSON."""
    from dsconv import config as configuration
    from dsconv.models.complexity import layer_costs
    from dsconv.performance import preflight as estimate
    from dsconv.performance.augmentation import on_pictures
    from dsconv.performance.topology import topology_devices
    from dsconv.training.setup import build_network, image_shape

    devices = topology_devices(arguments.topology)
    config = on_pictures(configuration.load(arguments.config, arguments.overrides))
    macs = sum(row.macs for row in layer_costs(build_network(config), image_shape(config)))
    result = estimate.preflight(config, macs, arguments.images, devices)
    print(json.dumps(result) if arguments.json else estimate.as_text(result, config))


def flags() -> cli.Parser:
    """The command's flags."""
    parser = cli.parser('preflight', 'Compiles a training step for a TPU slice that need not be there, and estimates.')
    cli.add_config_flag(parser)
    parser.add_argument('--topology', required=True, metavar='SLICE', help="as v3-8, or the compiler's own, v3:2x2x1")
    parser.add_argument(
        '--images',
        type=cli.positive,
        default=CIFAR10_TRAINING_IMAGES,
        metavar='N',
        help='training images in an epoch (default: 50000, those of CIFAR-10)',
    )
    parser.add_argument('--json', action='store_true', help='one JSON object')
    return parser


if __name__ == '__main__':
    cli.run(flags(), preflight)
