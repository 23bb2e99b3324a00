"""python -m benchmarks.gpu: how fast a GPU trains Small, Medium and Large, compared with PyTorch if it is installed.

Trials run one after another, the most important first, until `--seconds` have passed. `--output` is rewritten after
each trial, so that nothing is lost if the job is killed. A failed trial has an `error` instead of results.

dsconv trains on random images with `dispatches` and `train_step`, as a run does, without augmentation and EMA. PyTorch
trains on one normalised batch, which stays on the device, and reads the loss once per `steps_per_dispatch` steps.
"""

import dataclasses
import itertools
import logging
import os
import statistics
import tempfile
import time
import timeit
from pathlib import Path
from typing import NamedTuple

from benchmarks.network.comparison import same_work
from benchmarks.process import Process
from dsconv import cli
from dsconv import config as configuration
from dsconv.errors import RunError
from dsconv.files import write_json
from dsconv.performance import machine

logger = logging.getLogger('dsconv')
# TB/s from the vendors' data sheets. The first name whose words are all in JAX's device name is used.
BANDWIDTHS = {
    'H200': 4.8,
    'H100 PCIe': 2.0,
    'H100 NVL': 3.9,
    'H100': 3.35,
    'A100 40GB': 1.56,
    'A100': 2.0,
    'L4': 0.3,
    'T4': 0.32,
    'V100': 0.9,
}
CALLS = 5  # timed calls, after two warm-up calls
DISPATCHES = 4  # dispatches per call of dsconv
STANDARD = (
    'batch_size=512',
    'steps_per_dispatch=20',
    'dataset.on_device=true',
    'model.dtype=bfloat16',
    'model.implementation=plain',
    'model.norm_groups=1',
    'log.every_steps=1000000',
)
TINY = ('batch_size=8', 'steps_per_dispatch=2', 'model.dim=8', 'model.depth=1', 'dataset.image_size=8')


class Trial(NamedTuple):
    """A measurement: a name, a config, overrides after `STANDARD`, and the variant of PyTorch, or None for dsconv."""

    name: str
    config: str
    overrides: tuple[str, ...] = ()
    torch: str | None = None


FAST = 'model.implementation=fast'
TRIALS = (
    Trial('small', 'small'),
    Trial('small, torch.compile', 'small', torch='compile'),
    Trial('small, fast, lax', 'small', (FAST, 'model.depthwise_form=lax')),
    Trial('small, fast, shift', 'small', (FAST, 'model.depthwise_form=shift')),
    Trial('small, one step a dispatch', 'small', ('steps_per_dispatch=1',)),
    Trial('small, fed by the host', 'small', ('dataset.on_device=false',)),
    Trial('small, batch 2048', 'small', ('batch_size=2048',)),
    Trial('small, batch 2048, torch.compile', 'small', ('batch_size=2048',), 'compile'),
    Trial('medium', 'medium'),
    Trial('large', 'large', ('batch_size=256',)),
    Trial('small, float32', 'small', ('model.dtype=float32',)),
    Trial('small, batch 128', 'small', ('batch_size=128',)),
    Trial('small, torch, eager', 'small', torch='eager'),
)


def config_of(trial: Trial, rehearse: bool):
    """Returns the resolved config of a trial, made comparable by `same_work`: no augmentation, no EMA."""
    overrides = [*STANDARD, *trial.overrides, *(TINY if rehearse else ())]
    return same_work(configuration.load(f'configs/{trial.config}.py', overrides))


def measure(trial: Trial, rehearse: bool) -> dict:
    """Times the training steps of a trial.

    Returns:
      `images_per_second`, the median of `CALLS` calls, and `spread`, the least and the most; for dsconv also
      `compile_seconds`, the compiler's counts, and `roofline_share`: the time to move a dispatch's bytes at the memory
      bandwidth ÷ the measured time, None if the device's bandwidth is unknown.
    """
    config = config_of(trial, rehearse)
    images = config.batch_size * config.steps_per_dispatch
    seconds, found = _by_torch(trial, config) if trial.torch else _by_dsconv(config)
    speeds = [images / each for each in seconds]
    return {'images_per_second': statistics.median(speeds), 'spread': [min(speeds), max(speeds)], **found}


def _by_dsconv(config):
    import jax

    from benchmarks.feed import memory_split
    from dsconv.performance.step_cost import counts
    from dsconv.training.memory import bytes_of
    from dsconv.training.setup import build_training, compile_steps

    split = memory_split(config)
    training = build_training(config, split.num_examples, jax.devices()[:1])
    state, began = training.new_state(), time.perf_counter()
    compiled = compile_steps(config, training, state, config.steps_per_dispatch)
    found = {'compile_seconds': time.perf_counter() - began, 'memory_bytes': bytes_of(compiled)}
    stream = equal_dispatches(config, training, split)

    def call():  # the host prepares a dispatch while the device works on the previous dispatch, as in a run
        nonlocal state
        for _, batches in itertools.islice(stream, DISPATCHES):
            state, loss = training.train_step(state, *batches)
        jax.block_until_ready(loss)

    seconds = [each / DISPATCHES for each in timeit.repeat(call, number=1, repeat=2 + CALLS)[2:]]
    try:
        _, moved, *_ = counts(compiled)
    except Exception as error:  # not tested on a GPU, whose programs may have another form
        return seconds, found | {'uncounted': repr(error)[:300]}
    bandwidth = bandwidth_of(jax.devices()[0].device_kind)
    found['bytes_per_image'] = moved / (config.batch_size * config.steps_per_dispatch)
    found['roofline_share'] = bandwidth and moved / (1e12 * bandwidth) / statistics.median(seconds)
    return seconds, found


def bandwidth_of(device: str) -> float | None:
    """Returns the memory bandwidth of a GPU in TB/s by its JAX device name, or None if it is unknown."""
    words = set(device.replace('-', ' ').split())
    return next((value for name, value in BANDWIDTHS.items() if words.issuperset(name.split())), None)


def equal_dispatches(config, training, split):
    """Returns `dispatches` over one long epoch: at the end of an epoch, a run would compile a shorter dispatch."""
    from dsconv.training.loop import dispatches
    from dsconv.training.progress import Progress

    endless = dataclasses.replace(training, steps_per_epoch=training.total_steps)
    return dispatches(config, training, split, 0, Progress(config, endless, 0))


def _by_torch(trial, config):
    import jax

    from benchmarks.network.dsconv_peer import export

    on_gpu = jax.devices()[0].platform == 'gpu'
    with tempfile.TemporaryDirectory() as directory:
        _, settings = export(config, Path(directory))
        settings |= {'variant': trial.torch, 'device': 'cuda' if on_gpu else 'cpu', 'dtype': config.model.dtype}
        settings |= {'steps': config.steps_per_dispatch}
        with Process('benchmarks.network.torch_peer', settings, dict(os.environ)) as process:
            if process.missing:
                raise RunError(f'{process.missing} is not installed')
            process.call('train', 2)
            return process.call('train', CALLS)['seconds'], {}


def measure_all(arguments) -> None:
    """Runs the trials; after each, prints a line and writes all results so far."""
    import jax

    began, results = time.monotonic(), []
    about = {'what': 'gpu', 'standard': STANDARD, 'rehearsed': arguments.rehearse}
    about |= machine.surroundings()
    for trial in TRIALS:
        if time.monotonic() - began > arguments.seconds:
            logger.warning('left out, as %g s have passed: %s', arguments.seconds, trial.name)
            continue
        try:
            found = measure(trial, arguments.rehearse)
            shown = f'{found["images_per_second"]:,.0f} images/s'
            if found.get('roofline_share'):
                shown += f', {100 * found["roofline_share"]:.0f} % of what the memory allows'
        except Exception as error:  # time on the machine is short: a failed trial must not stop the others
            found = {'error': ' '.join(f'{type(error).__name__}: {error}'.split())[:300]}
            shown = found['error']
        print(f'{trial.name}: {shown}', flush=True)
        results.append({**trial._asdict(), **found})
        jax.clear_caches()
        if arguments.output:
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            write_json(arguments.output, about | {'trials': results})


def flags() -> cli.Parser:
    parser = cli.Parser(prog='python -m benchmarks.gpu', description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument('--output', type=cli.path, metavar='FILE', help='JSON')
    text = 'after which no further trial begins (default: 200; a trial takes 10 to 40)'
    parser.add_argument('--seconds', type=cli.positive, default=200, metavar='N', help=text)
    parser.add_argument(
        '--rehearse', action='store_true', help='tiny networks, to try the command where there is no GPU'
    )
    return parser


if __name__ == '__main__':
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')  # PyTorch, in another process, needs memory too
    cli.run(flags(), measure_all)
