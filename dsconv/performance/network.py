"""The same network trained and run by other libraries, each measurement in a process of its own, in turn.

On a CPU and on random pictures. Every contender starts from the same exported variables and must answer with the same
logits. A step is forward pass, cross-entropy, gradient and AdamW on uint8 pictures that this project normalises in
every step, and its peers before anything is timed. Nothing is augmented, averaged or clipped.
"""

import functools
import logging
import statistics
import tempfile
from pathlib import Path

from dsconv.errors import InputError, RunError
from dsconv.performance import machine
from dsconv.performance.augmentation import on_pictures
from dsconv.performance.contender import CHECKED, WARM_UP, measure_apart
from dsconv.performance.network_peers import (
    INSTALL,
    OURS,
    PEERS,
    TUNED,
    check_installed,
    check_same_network,
    contenders,
)
from dsconv.performance.timing import in_turn, median_ratio

MODES = ('train', 'inference')
STEPS = 5
TOLERANCE = 1e-3  # of logits, relative to the largest of them
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy', 'torch', 'keras', 'tensorflow', 'tensorflow-cpu')


def measure(config, peers=tuple(PEERS), rounds: int = 5, steps: int = STEPS) -> dict:
    """Measures all in turn, in `rounds`, by the median of `steps` calls of each kind.

    Args:
      config: a loaded config; of images whose size it leaves to the data, CIFAR-10's is taken.
      peers: of `PEERS`, or none.

    Returns:
      What `--json` prints: settings, surroundings, and by 'train' or 'inference' and contender `images_per_second`
      (median of the rounds), `spread` (least and most), `by_round`, and `ratio`, the median of this project's ÷ the
      peer's of the same round. `logits_difference` is the largest, relative to the largest logit; `losses` are those
      of the first training steps.

    Raises:
      InputError: a peer is not installed, or has not what the config asks for.
      RunError: a peer fails, or is another network.
    """
    check_installed(peers)
    config = same_work(on_pictures(config))
    if peers:
        check_same_network(config)
    from dsconv.performance.own_network import export

    with tempfile.TemporaryDirectory(prefix='dsconv-benchmark-') as directory:
        expected = export(config, Path(directory))
        settings = peer_settings(config, Path(directory), steps)
        measures = {
            name: functools.partial(_measure_one, name, contender, settings, expected)
            for name, contender in contenders(peers).items()
        }
        logging.getLogger('dsconv').info('%s: %d rounds in turn', ', '.join(measures), rounds)
        facts = in_turn(measures, rounds)
    return {
        'what': 'network',
        'model': config.model.to_dict(),
        'image_shape': list(expected['image_shape']),
        'batch_size': config.batch_size,
        'rounds': rounds,
        'steps': steps,
        'cores': machine.cores(),
        'cpu': machine.cpu_model(),
        'versions': machine.versions(PACKAGES),
        **summarised(facts, config.batch_size),
    }


def same_work(config):
    """A resolved config without what is no part of the comparison: augmentation, averaging, clipping, warm-up, …"""
    from dsconv.augment import OFF

    config = config.copy_and_resolve_references()
    config.augment.update(OFF)
    config.loss.label_smoothing = 0.0
    config.optimizer.ema_decay = config.optimizer.clip_norm = None
    config.schedule.warmup_epochs = 0.0
    config.steps_per_dispatch = 1
    return config


def peer_settings(config, directory: Path, steps: int) -> dict:
    """What a contender is told, but for its variant."""
    from dsconv.performance.own_network import ARRAYS

    return {
        'directory': str(directory),
        'arrays': str(directory / ARRAYS),
        'steps': steps,
        'model': config.model.to_dict(),
        'classes': len(config.dataset.class_names),
        'mean': config.dataset.mean,
        'std': config.dataset.std,
        'optimizer': config.optimizer.to_dict(),
        'learning_rate': config.schedule.peak_value,
    }


def _measure_one(name, contender, settings, expected):
    settings = settings | {'variant': contender.variant, 'as_command': name == OURS}
    facts = measure_apart(contender.module, settings, contender.environment)
    if 'missing' in facts:
        raise InputError(f'--peers={name.removesuffix(TUNED)}: {facts["missing"]} cannot be imported; {INSTALL}')
    if facts['parameters'] != expected['parameters']:
        raise RunError(f'{name} has {facts["parameters"]:,} parameters, not {expected["parameters"]:,}')
    facts['difference'] = difference(facts.pop('logits'), expected['logits'][:CHECKED])
    if not facts['difference'] <= TOLERANCE:
        raise RunError(f'{name} is another network: its logits differ by {facts["difference"]:.2g} of the largest')
    speeds = ', '.join(f'{statistics.median(facts[mode]):.3g} s' for mode in MODES)
    logging.getLogger('dsconv').info('%s: a training step and an inference step take %s', name, speeds)
    return facts


def difference(logits, expected) -> float:
    """The largest absolute difference of logits `(batch, classes)`, ÷ the largest expected; NaN where one is none."""
    import numpy as np

    return float(np.max(np.abs(np.asarray(logits, float) - expected)) / np.max(np.abs(expected)))


def summarised(facts: dict[str, list[dict]], batch_size: int) -> dict:
    """The part of `measure`'s result that follows from what the contenders' processes found, round by round."""
    by_round = {
        mode: {name: [batch_size / statistics.median(one[mode]) for one in found] for name, found in facts.items()}
        for mode in MODES
    }
    by_mode = {'images_per_second': {}, 'ratio': {}, 'spread': {}, 'by_round': by_round}
    for mode, values in by_round.items():
        by_mode['images_per_second'][mode] = {name: statistics.median(own) for name, own in values.items()}
        by_mode['spread'][mode] = {name: [min(own), max(own)] for name, own in values.items()}
        by_mode['ratio'][mode] = {name: median_ratio(values[OURS], own) for name, own in values.items() if name != OURS}
    return {
        **by_mode,
        'parameters': {name: found[0]['parameters'] for name, found in facts.items()},
        'logits_difference': {name: max(one['difference'] for one in found) for name, found in facts.items()},
        'losses': {name: found[0]['losses'] for name, found in facts.items()},
        'allocator': {name: found[0]['allocator'] for name, found in facts.items()},
    }


def as_text(result: dict) -> str:
    """`measure`'s result for a terminal."""
    from dsconv.reporting import text_table

    header = ['', 'training images/s', f'{OURS} ÷ it', 'inference images/s', f'{OURS} ÷ it', 'logits differ by']
    rows = []
    for name in result['parameters']:
        speeds = [(result['images_per_second'][mode][name], result['ratio'][mode].get(name)) for mode in MODES]
        rows.append([name, *speeds[0], *speeds[1], f'{result["logits_difference"][name]:.0e}'])
    about = (
        f'{result["parameters"][OURS]:,} parameters, batches of {result["batch_size"]}, float32, {result["cores"]} '
        f'cores ({result["cpu"]}).\nMedians of {result["rounds"]} rounds in turn, each of {result["steps"]} steps '
        f'after {WARM_UP} in a new process. {TUNED}: with the malloc settings that {OURS} gives itself.'
    )
    return f'{about}\n\n{text_table(header, rows)}'


def draw(result: dict) -> bytes:
    """`measure`'s result as the content of a PNG file."""
    from dsconv.reporting.bars import grouped_bars
    from dsconv.reporting.figures import png

    titles = {'train': 'training, images/s', 'inference': 'inference, images/s'}
    return png(
        grouped_bars(
            {titles[mode]: result['images_per_second'][mode] for mode in MODES},
            {titles[mode]: result['spread'][mode] for mode in MODES},
            marked=OURS,
        )
    )
