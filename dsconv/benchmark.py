"""python -m dsconv.benchmark --config=configs/small.py: how fast the network is, or a part, beside what it goes with.

Whatever is compared is measured in turn, in one run: its ratios hold on a busy machine, images per second do not.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dsconv import cli
from dsconv.errors import InputError, did_you_mean


class Choice(NamedTuple):
    """What `--what` names. Its module is imported when it is chosen.

    Attributes:
      measure: (config, arguments) → the module with `as_text(result)`, and the result, which is JSON. Where the module
        has a `draw(result)` too, that is the content of a PNG file.
      rounds: where `--rounds` does not say; None of what is not measured in rounds.
      takes: flags that not every choice has.
      about: for `--help`.
    """

    measure: Callable
    rounds: int | None
    takes: tuple[str, ...]
    about: str


def measure_network(config, arguments):
    from dsconv.performance import network, network_peers

    peers = libraries(arguments.peers, tuple(network_peers.PEERS))
    return network, network.measure(config, peers, arguments.rounds, arguments.steps or network.STEPS)


def measure_augmentation(config, arguments):
    from dsconv.performance import augmentation, topology

    if arguments.topology is not None:
        return topology, topology.augmentation_cost(augmentation.on_pictures(config), arguments.topology)
    peers = libraries(arguments.peers, augmentation.LIBRARIES)
    return augmentation, augmentation.measure(config, peers, arguments.rounds)


def measure_feed(config, arguments):
    from dsconv.performance import feed

    return feed, feed.measure(config, arguments.rounds)


def measure_time_to_accuracy(config, arguments):
    from dsconv.studies import time_to_accuracy as module

    baseline, seeds = arguments.baseline or module.BASELINE, arguments.seeds or module.SEEDS
    targets, workdir = arguments.targets or module.TARGETS, arguments.workdir or module.WORKDIR
    return module, module.measure(config, arguments.config, baseline, seeds, targets, workdir)


CHOICES = {
    'network': Choice(
        measure_network, 5, ('peers', 'rounds', 'steps'), 'training and inference, beside other libraries'
    ),
    'augment': Choice(
        measure_augmentation, 9, ('peers', 'rounds', 'topology'), "augmentation's part of the step, and other libraries"
    ),
    'feed': Choice(measure_feed, 5, ('rounds',), 'how fast batches come from the data'),
    'time-to-accuracy': Choice(
        measure_time_to_accuracy,
        None,
        ('baseline', 'seeds', 'targets', 'workdir'),
        'how long two recipes train until they are so accurate',
    ),
}


def benchmark(arguments) -> None:
    """Prints what `arguments` ask for, as text or JSON, and writes it to files where some are named."""
    from dsconv import config as configuration

    choice = CHOICES[arguments.what]
    check_flags(arguments, choice)
    output = arguments.output and output_file(arguments.output)
    config = configuration.load(arguments.config, arguments.overrides)
    arguments.rounds = arguments.rounds or choice.rounds
    kind, result = choice.measure(config, arguments)
    if output:
        write(kind, result, output)
    print(json.dumps(result, ensure_ascii=False) if arguments.json else kind.as_text(result))


def check_flags(arguments, choice: Choice) -> None:
    """Raises InputError where one was given that the choice does not have."""
    for name in sorted({name for other in CHOICES.values() for name in other.takes} - set(choice.takes)):
        if getattr(arguments, name) is not None:
            having = ' or '.join(f'--what={what}' for what, other in CHOICES.items() if name in other.takes)
            raise InputError(f'--{name} goes with {having}, not with --what={arguments.what}')


def libraries(text: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """The names that `--peers` lists, `known` where it does not say; raises InputError for one that is not known."""
    if text is None:
        return known
    names = () if text == 'none' else tuple(dict.fromkeys(text.split(',')))
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise InputError(f'--peers: {name!r} is not one of {", ".join(known)}, nor none{hint}')
    return names


def targets(text: str) -> tuple[float, ...]:
    """The type of `--targets`: percentages above 0, in rising order."""
    try:
        numbers = sorted({float(part) for part in text.split(',')})
    except ValueError:
        numbers = [0]
    if not all(0 < number <= 100 for number in numbers):
        raise argparse.ArgumentTypeError(f'{text!r} must be percentages, as 65,70')
    return tuple(numbers)


def output_file(output: Path) -> Path:
    """The JSON file that `--output` means: itself, or benchmark.json in a directory; raises InputError for neither."""
    file = output if output.suffix == '.json' and not output.is_dir() else output / 'benchmark.json'
    if not output.parent.is_dir():
        raise InputError(f'--output={output}: there is no directory {output.parent}')
    if file != output and output.exists() and not output.is_dir():
        raise InputError(f'--output={output} must be a directory or end in .json')
    return file


def write(kind, result: dict, file: Path) -> None:
    """Writes the JSON object, and beside it the picture where there is one."""
    from dsconv.files import replace_file

    file.parent.mkdir(exist_ok=True)
    replace_file(file, f'{json.dumps(result, indent=2, ensure_ascii=False)}\n'.encode())
    if hasattr(kind, 'draw'):
        replace_file(file.with_suffix('.png'), kind.draw(result))


def flags() -> cli.Parser:
    """The command's flags."""
    parser = cli.parser('benchmark', 'Measures how fast the network or a part of the project is.')
    cli.add_config_flag(parser)
    parser.add_argument(
        '--what',
        choices=tuple(CHOICES),
        default='network',
        help='; '.join(f'{name}: {choice.about}' for name, choice in CHOICES.items()) + ' (default: network)',
    )
    parser.add_argument(
        '--peers',
        metavar='LIBRARIES',
        help='to compare with, or none (default: all; pip install -r benchmarks/requirements.txt). network: torch, '
        'torch-compile, keras-tensorflow, keras-jax; augment: pillow, torchvision, keras',
    )
    defaults = ', '.join(f'{choice.rounds} for {name}' for name, choice in CHOICES.items() if choice.rounds)
    parser.add_argument('--rounds', type=cli.positive, help=f'in which all are measured in turn (default: {defaults})')
    parser.add_argument('--steps', type=cli.positive, help='of network: timed in a round (default: 5)')
    parser.add_argument(
        '--topology',
        metavar='SLICE',
        help="of augment, instead: what a TPU's compiler says of a slice, as v3:2x2x1 for a v3-8 (pip install "
        "'jax[tpu]')",
    )
    parser.add_argument('--baseline', metavar='FILE', help='of time-to-accuracy: a config (default: configs/small.py)')
    parser.add_argument('--seeds', type=cli.seeds, help='of time-to-accuracy: of the runs of each (default: 0,1)')
    parser.add_argument(
        '--targets', type=targets, help='of time-to-accuracy: percent of the validation split (default: 65,70,75,80)'
    )
    parser.add_argument(
        '--workdir',
        type=cli.path,
        metavar='DIR',
        help='of time-to-accuracy: for the runs, which go on where they stopped (default: runs/time-to-accuracy)',
    )
    parser.add_argument('--json', action='store_true', help='one JSON object')
    parser.add_argument(
        '--output',
        type=cli.path,
        metavar='DIR',
        help='for the same JSON object, benchmark.json, and a picture of it where there is one; or FILE.json',
    )
    return parser


if __name__ == '__main__':
    cli.run(flags(), benchmark)
