"""Trains and runs the same network in other libraries in turn, with a new process for each measurement.

On a CPU and random images, not augmented. All contenders start from the same variables and must return the same logits.
A step is forward pass, cross-entropy, gradient and AdamW; dsconv also normalises uint8 images.
"""

import functools
import importlib.util
import logging
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.process import Process
from dsconv.config_checks import resolve_without_data
from dsconv.errors import InputError, RunError
from dsconv.performance import machine
from dsconv.performance.timing import in_turn, median_ratio
from dsconv.process import ALLOCATOR, SWITCH
from dsconv.reporting import text_table

OURS = 'dsconv'
TUNED = '+allocator'
INSTALL = 'pip install -r benchmarks/requirements.txt'
TITLES = {'train': 'training, images/s', 'inference': 'inference, images/s'}
# Values that both peer modules support.
OF_PEERS = {
    'model.name': ('dsconv',),
    'model.norm': ('batch',),
    'model.dtype': ('float32',),
    'model.activation': ('gelu', 'gelu_exact', 'relu', 'silu'),
    'optimizer.name': ('adamw',),
    'optimizer.freeze': (None,),
    'optimizer.body_rate': (1.0,),
    'loss.name': ('cross_entropy',),
}
WARM_UP = 2  # the first step compiles; the second may compile again, for the layouts that the first returns
TOLERANCE = 1e-3  # of logits, relative to the largest logit


class Peer(NamedTuple):
    """What `--peers` names: a module with `prepare`, the variant passed to it, and the Python modules it needs."""

    module: str
    variant: str
    needs: tuple[str, ...]


PEERS = {
    'torch': Peer('benchmarks.network.torch_peer', 'eager', ('torch',)),
    'torch-compile': Peer('benchmarks.network.torch_peer', 'compile', ('torch',)),
    'keras-tensorflow': Peer('benchmarks.network.keras_peer', 'tensorflow', ('keras', 'tensorflow')),
    'keras-jax': Peer('benchmarks.network.keras_peer', 'jax', ('keras',)),
}


class Contender(NamedTuple):
    """A process to start in every round: its module, the settings for it alone, and its environment variables."""

    module: str
    settings: dict
    environment: dict


def measure(config, peers=tuple(PEERS), rounds: int = 5, steps: int = 5) -> dict:
    """Measures a loaded config and `peers` in turn, `rounds` times, by the median of `steps` calls of each mode.

    Returns the object that `--json` prints: settings, surroundings, and by mode ('train' or 'inference') and contender
    `images_per_second` (median of the rounds), `spread` (least and most), `by_round`, and `ratio`, the median of
    dsconv's ÷ the peer's in the same round. `logits_difference` is the largest difference relative to the largest
    logit; `losses` are the losses of the first training steps.

    Raises InputError if a peer is not installed or does not support the config; RunError if a peer fails or is another
    network.
    """
    check_installed(peers)
    config = same_work(config)
    if peers:
        check_same_network(config)
    import jax

    # As in the contenders' processes. An accelerator may multiply float32 in fewer bits, and another run may occupy it.
    jax.config.update('jax_platforms', 'cpu')
    from benchmarks.network.dsconv_peer import export
    from dsconv.training.network import image_shape

    with tempfile.TemporaryDirectory(prefix='dsconv-benchmark-') as directory:
        expected, settings = export(config, Path(directory))
        measures = {
            name: functools.partial(measure_one, name, contender, settings, expected, steps)
            for name, contender in contenders(peers).items()
        }
        logging.getLogger('dsconv').info('%s: %d rounds in turn', ', '.join(measures), rounds)
        facts = in_turn(measures, rounds)
    return {
        'model': config.model.to_dict(),
        'image_shape': image_shape(config),
        'batch_size': config.batch_size,
        'rounds': rounds,
        'steps': steps,
        **machine.surroundings(),
        **summarise(facts, config.batch_size),
    }


def check_installed(peers) -> None:
    """Raises InputError if a module or the compiler that a peer needs is missing; imports no module."""
    for name in peers:
        missing = [module for module in PEERS[name].needs if importlib.util.find_spec(module) is None]
        if missing:
            raise InputError(f'--peers={name} needs {" and ".join(missing)}: {INSTALL}, or take --peers=none')
    if 'torch-compile' in peers and not (os.environ.get('CXX') or shutil.which('g++') or shutil.which('clang++')):
        raise InputError('--peers=torch-compile: there is no C++ compiler, which torch.compile needs on a CPU')


def check_same_network(config) -> None:
    """Raises InputError unless the peers support `config`."""
    for key, has in OF_PEERS.items():
        if (value := config[key]) not in has:
            raise InputError(f'{key}={value}: the peers support only {", ".join(map(str, has))}; use --peers=none')


def contenders(peers) -> dict[str, Contender]:
    """Returns name → contender: dsconv as its commands run, each peer as installed and, on Linux, with our malloc."""
    own = (SWITCH, *ALLOCATOR) if os.environ.get(SWITCH) == 'tuned' else ()  # set by this project for this process
    # `prepare_process` sets TF_ENABLE_ONEDNN_OPTS for this project's commands; it would slow TensorFlow's layers.
    environment = {name: value for name, value in os.environ.items() if name not in (*own, 'TF_ENABLE_ONEDNN_OPTS')}
    environment |= {'JAX_PLATFORMS': 'cpu', 'CUDA_VISIBLE_DEVICES': ''}
    found = {OURS: Contender('benchmarks.network.dsconv_peer', {'as_command': True}, environment)}
    for name in peers:
        found[name] = Contender(PEERS[name].module, {'variant': PEERS[name].variant}, environment)
        if sys.platform == 'linux':
            found[name + TUNED] = found[name]._replace(environment=environment | ALLOCATOR)
    return found


def same_work(config):
    """Returns a loaded config, resolved, without augmentation, label smoothing, EMA, clipping and warm-up."""
    from dsconv.augment import OFF

    config = resolve_without_data(config)
    config.augment.update(OFF)
    config.loss.label_smoothing = 0.0
    config.optimizer.ema_decay = config.optimizer.clip_norm = None
    config.schedule.warmup_epochs = 0.0
    return config


def measure_one(name: str, contender, settings: dict, expected: dict, steps: int) -> dict:
    """Measures one contender in a new process; `settings` and `expected` are results of `dsconv_peer.export`.

    Returns the facts of its process, `losses` of the first steps, the relative `difference` of its logits before any
    step, and the seconds of each call by mode. Raises InputError if it lacks a module, RunError if it fails or differs.
    """
    with Process(contender.module, settings | contender.settings, contender.environment) as process:
        facts = process.facts
        if process.missing:
            peer = name.removesuffix(TUNED)
            raise InputError(f'--peers={peer}: {process.missing} cannot be imported; {INSTALL}')
        if facts['parameters'] != expected['parameters']:
            raise RunError(f'{name} has {facts["parameters"]:,} parameters, not {expected["parameters"]:,}')
        logits, largest = np.asarray(process.call('inference')['values'], float), np.max(np.abs(expected['logits']))
        facts['difference'] = float(np.max(np.abs(logits - expected['logits'])) / largest)  # NaN if any logit is
        if not facts['difference'] <= TOLERANCE:
            raise RunError(f'{name} is another network: its logits differ by {facts["difference"]:.2g} of the largest')
        facts['losses'] = [process.call('train')['values'] for _ in range(WARM_UP)]
        facts['train'] = process.call('train', steps)['seconds']
        process.call('inference')
        facts['inference'] = process.call('inference', steps)['seconds']
    speeds = ', '.join(f'{statistics.median(facts[mode]):.3g} s' for mode in TITLES)
    logging.getLogger('dsconv').info('%s: a training step and an inference step take %s', name, speeds)
    return facts


def summarise(facts: dict[str, list[dict]], batch_size: int) -> dict:
    """Computes the part of `measure`'s result that depends on `facts`, contender → `measure_one`'s result by round."""
    by_round = {
        mode: {name: [batch_size / statistics.median(one[mode]) for one in found] for name, found in facts.items()}
        for mode in TITLES
    }

    def by_mode(function):
        return {mode: {name: function(values, name) for name in values} for mode, values in by_round.items()}

    ratio = by_mode(lambda values, name: median_ratio(values[OURS], values[name]))
    of_first = ('parameters', 'losses', 'allocator')
    return {
        'images_per_second': by_mode(lambda values, name: statistics.median(values[name])),
        'ratio': {mode: {name: own for name, own in values.items() if name != OURS} for mode, values in ratio.items()},
        'spread': by_mode(lambda values, name: [min(values[name]), max(values[name])]),
        'by_round': by_round,
        **{key: {name: found[0][key] for name, found in facts.items()} for key in of_first},
        'logits_difference': {name: max(one['difference'] for one in found) for name, found in facts.items()},
    }


def as_text(result: dict) -> str:
    header = ['', 'training images/s', f'{OURS} ÷ it', 'inference images/s', f'{OURS} ÷ it', 'logits differ by']
    rows = []
    for name in result['parameters']:
        speeds = [(result['images_per_second'][mode][name], result['ratio'][mode].get(name)) for mode in TITLES]
        rows.append([name, *speeds[0], *speeds[1], f'{result["logits_difference"][name]:.0e}'])
    about = (
        f'{result["parameters"][OURS]:,} parameters, batches of {result["batch_size"]}, {result["model"]["dtype"]}, '
        f'{result["cores"]} cores ({result["cpu"]}).\nMedians of {result["rounds"]} rounds in turn; each runs '
        f'{WARM_UP} warm-up and {result["steps"]} timed steps in a new process. {TUNED}: with the malloc settings that '
        f'{OURS} gives itself.'
    )
    groups = result['model']['norm_groups']
    if groups > 1 and len(result['parameters']) > 1:
        about += f'\n{OURS} trains in {groups} norm groups, by microbatches; the others over the whole batch.'
    return f'{about}\n\n{text_table(header, rows)}'


def draw(result: dict) -> bytes:
    """Draws `measure`'s result as bars with values and lines over the spread; returns the content of a PNG file."""
    from matplotlib.figure import Figure

    from dsconv.reporting.figures import png

    names = list(result['parameters'])
    figure = Figure(figsize=(8, 0.9 + 0.34 * len(names)), dpi=90, layout='constrained')
    for axes, (mode, title) in zip(figure.subplots(1, 2, sharey=True), TITLES.items(), strict=True):
        speeds = np.array([result['images_per_second'][mode][name] for name in names])
        least, most = np.array([result['spread'][mode][name] for name in names]).T
        lines = {'xerr': [speeds - least, most - speeds], 'error_kw': {'lw': 0.8, 'capsize': 2}}
        bars = axes.barh(names, speeds, 0.72, color=['C0' if name == OURS else '#b8c4cf' for name in names], **lines)
        labels = [f'{speed:,.0f}' if speed >= 10 else f'{speed:.2g}' for speed in speeds]
        axes.bar_label(bars, labels, padding=3, fontsize=8)
        axes.set_xlim(0, 1.2 * max(most))
        axes.set_title(title, fontsize=10)
        axes.locator_params(axis='x', nbins=5)
        axes.tick_params(axis='x', labelsize=8)
        axes.tick_params(axis='y', labelsize=9, length=0)
        axes.spines[['top', 'right']].set_visible(False)
    axes.invert_yaxis()
    return png(figure)
