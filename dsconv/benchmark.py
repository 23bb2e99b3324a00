"""python -m dsconv.benchmark --config=configs/small.py --what=augment: how fast a part is, beside what it goes with.

Whatever is compared is measured in turn, in one run: its ratios hold on a busy machine, images per second do not.
"""

import argparse
import json

from dsconv import cli
from dsconv.errors import InputError, did_you_mean

CHOICES = ('augment',)


def benchmark(arguments) -> None:
    """Prints what `arguments` ask for, as text or JSON, and writes it to a file where one is named."""
    from dsconv import config as configuration
    from dsconv.files import replace_file
    from dsconv.performance import augmentation, topology

    if arguments.output and not arguments.output.parent.is_dir():
        raise InputError(f'--output={arguments.output}: there is no directory {arguments.output.parent}')
    config = configuration.load(arguments.config, arguments.overrides)
    if arguments.topology is not None:
        kind, result = topology, topology.augmentation_cost(augmentation.on_pictures(config), arguments.topology)
    else:
        kind, result = augmentation, augmentation.measure(config, arguments.peers, arguments.rounds)
    if arguments.output:
        text = json.dumps(result, indent=2, ensure_ascii=False)
        replace_file(arguments.output, f'{text}\n'.encode())
    print(json.dumps(result, ensure_ascii=False) if arguments.json else kind.as_text(result))


def libraries(text: str) -> tuple[str, ...]:
    """The type of `--peers`: names of libraries, or none."""
    from dsconv.performance.augmentation import LIBRARIES

    names = () if text == 'none' else tuple(text.split(','))
    for name in names:
        if name not in LIBRARIES:
            hint = did_you_mean(name, LIBRARIES)
            raise argparse.ArgumentTypeError(f'{name!r} is not one of {", ".join(LIBRARIES)}, nor none{hint}')
    return names


def flags() -> cli.Parser:
    """The command's flags."""
    parser = cli.parser('benchmark', 'Measures how fast a part of the project is, beside what it goes with.')
    cli.add_config_flag(parser)
    parser.add_argument(
        '--what', required=True, choices=CHOICES, help='augment: its part of the training step, and other libraries'
    )
    parser.add_argument(
        '--peers',
        type=libraries,
        default='pillow,torchvision,keras',
        metavar='LIBRARIES',
        help='to compare with, or none (default: pillow,torchvision,keras; pip install -r benchmarks/requirements.txt)',
    )
    parser.add_argument('--rounds', type=cli.positive, default=9, help='in which all are measured in turn (default: 9)')
    parser.add_argument(
        '--topology',
        metavar='SLICE',
        help="instead: what a TPU's compiler says of a slice, as v3:2x2x1 for a v3-8 (pip install 'jax[tpu]')",
    )
    parser.add_argument('--json', action='store_true', help='one JSON object')
    parser.add_argument('--output', type=cli.path, metavar='FILE', help='for the same JSON object')
    return parser


if __name__ == '__main__':
    cli.run(flags(), benchmark)
