"""python -m dsconv.benchmark --config=configs/small.py: compares the speed of the network, or of a part, with others.

The package `benchmarks` measures all candidates in turn, in one run. On a busy machine, their ratios stay valid; images
per second do not.
"""

import importlib
import json
import sys

from dsconv import cli
from dsconv.errors import InputError
from dsconv.files import check_output, make_directory, replace_file, write_json

# `--what` → (module, help). A module is imported when it is chosen. It defines `measure(config, …)`, which takes the
# given flags and returns JSON, `as_text(result)`, and optionally `PEERS` and `draw(result)`, which returns a PNG file.
CHOICES = {
    'network': ('benchmarks.network.comparison', 'speed of training and inference, compared with other libraries'),
    'augment': (
        'benchmarks.augment.comparison',
        "augmentation's share of the step, and its speed beside others",
    ),
    'feed': ('benchmarks.feed', 'how fast batches come from the data'),
    'time-to-accuracy': ('benchmarks.time_to_accuracy', 'how long two recipes train until they reach an accuracy'),
}
# Flag → the choices that take it. Every choice takes the other flags.
TAKEN_BY = {'peers': ('network', 'augment'), 'rounds': ('network', 'augment', 'feed'), 'steps': ('network',)}
TAKEN_BY |= dict.fromkeys(('baseline', 'seeds', 'targets', 'workdir'), ('time-to-accuracy',))


def benchmark(arguments) -> None:
    """Runs the benchmark that `arguments` choose; prints the result, and writes it to `--output` if set."""
    from dsconv import config as configuration

    if not (configuration.ROOT / 'benchmarks' / 'process.py').exists():
        raise InputError('the benchmarks are in a checkout of the project, not in what pip installs: run them there')
    sys.path.insert(0, str(configuration.ROOT))  # the current directory may have another package `benchmarks`
    given = given_flags(arguments)
    if output := arguments.output:
        output = output if output.suffix == '.json' and not output.is_dir() else output / 'benchmark.json'
        check_output(output.parent)
    config = configuration.load(arguments.config, arguments.overrides)
    if config.loss.teachers and arguments.what != 'time-to-accuracy':
        raise InputError('loss.teachers: this benchmark measures steps without: set --config.loss.teachers=none')
    module = importlib.import_module(CHOICES[arguments.what][0])
    if 'peers' in given:
        peers = cli.some_of('--peers', (*module.PEERS, 'none'), given['peers'])
        if 'none' in peers and len(peers) > 1:
            raise InputError(f'--peers={given["peers"]}: use either none or libraries')
        given['peers'] = () if 'none' in peers else peers
    if arguments.what == 'time-to-accuracy':
        given['name'] = arguments.config
    result = {'what': arguments.what} | module.measure(config, **given)
    print(json.dumps(result, ensure_ascii=False) if arguments.json else module.as_text(result))
    if output:
        make_directory(output.parent)
        write_json(output, result)
        if hasattr(module, 'draw'):
            replace_file(output.with_suffix('.png'), module.draw(result))


def given_flags(arguments) -> dict:
    """Returns the given flags of `TAKEN_BY`, by name; raises InputError for a flag that the choice does not take."""
    given = {name: getattr(arguments, name) for name in TAKEN_BY if getattr(arguments, name) is not None}
    for name in given:
        if arguments.what not in TAKEN_BY[name]:
            having = ' or '.join(f'--what={what}' for what in TAKEN_BY[name])
            raise InputError(f'--{name} can only be used with {having}, not with --what={arguments.what}')
    return given


def targets(text: str) -> tuple[float, ...]:
    """Parses `--targets`: percentages, sorted."""
    return tuple(sorted(set(map(cli.number(0, 100), text.split(',')))))


def flags() -> cli.Parser:
    parser = cli.parser('benchmark', 'Measures how fast the network or a part of the project is.')
    cli.add_config_flag(parser)
    text = '; '.join(f'{name}: {about}' for name, (_, about) in CHOICES.items())
    parser.add_argument('--what', choices=tuple(CHOICES), default='network', help=f'{text} (default: network)')
    text = (
        'to compare with, or none (default: all; pip install -r benchmarks/requirements.txt). network: torch, '
        'torch-compile, keras-tensorflow, keras-jax; augment: pillow, torchvision, keras'
    )
    parser.add_argument('--peers', metavar='LIBRARIES', help=text)
    text = 'number of rounds; each measures all in turn (default: 5; with --what=augment: 9)'
    parser.add_argument('--rounds', type=cli.positive, help=text)
    parser.add_argument('--steps', type=cli.positive, help='with --what=network: steps per round (default: 5)')
    parser.add_argument(
        '--baseline', metavar='FILE', help='with --what=time-to-accuracy: a config (default: configs/small.py)'
    )
    parser.add_argument('--seeds', type=cli.seeds, help='with --what=time-to-accuracy: seeds (default: 0,1)')
    text = 'with --what=time-to-accuracy: accuracies in percent (default: 65,70,75,80)'
    parser.add_argument('--targets', type=targets, help=text)
    text = 'with --what=time-to-accuracy: directory of the runs (default: runs/time-to-accuracy)'
    parser.add_argument('--workdir', type=cli.path, metavar='DIR', help=text)
    parser.add_argument('--json', action='store_true', help='one JSON object')
    text = 'writes the same JSON object to DIR/benchmark.json or FILE.json; two choices also write a plot'
    parser.add_argument('--output', type=cli.path, metavar='DIR', help=text)
    return parser


if __name__ == '__main__':
    cli.run(flags(), benchmark)
