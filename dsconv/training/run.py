"""A run's workdir: its lock, its config.json, and the checks before a run starts or resumes in it."""

import contextlib
import errno
import fcntl
import json
import logging
import os
import platform
import subprocess
from pathlib import Path

import jax
from jax.experimental import multihost_utils

from dsconv import config as configuration
from dsconv.config_checks import located, not_taken
from dsconv.errors import InputError, RunError
from dsconv.files import absolute, is_file, is_remote, make_directory, replace_file, to_path
from dsconv.process import command_line, versions
from dsconv.reporting import read_metrics

logger = logging.getLogger('dsconv')
# Keys that may change when a run is resumed. A change of any other key makes it another run.
MAY_CHANGE = (
    'epochs', 'steps_per_dispatch', 'max_skipped_steps', 'log.', 'eval.', 'checkpoint.', 'dataset.data_dir',
    'dataset.archive', 'dataset.on_device', 'accumulation_steps', 'model.implementation', 'model.fold',
    'model.depthwise_form', 'model.remat', 'loss.teachers',
)  # fmt: skip
PICTURES = 'pictures.csv.gz'  # in the workdir: the pictures with which the run began
PACKAGES = (
    'jax', 'jaxlib', 'libtpu', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'pillow', 'ml_collections',
    'tensorflow-datasets',
)  # fmt: skip


def check_workdir(workdir: Path, config) -> None:
    """Creates `workdir`; raises InputError if it holds another run than the run of the resolved `config`.

    A run that ended before its first checkpoint, for example for lack of memory, may be replaced by another run.
    """
    try:
        make_directory(workdir)
    except OSError as error:
        raise InputError(
            f'--workdir={workdir} cannot be made or written to: {error.strerror}; give another directory'
        ) from error
    kind, _, folder = config.dataset.name.partition(':')
    if kind == 'image_folder' and absolute(folder) in absolute(workdir).parents:
        logger.warning('%s is inside the folder of pictures: other runs would take it for a class', workdir)
    read_metrics(workdir)  # raises for a damaged log before anything is written
    if is_published(workdir):
        raise InputError(f'{workdir} holds a published network, which cannot be trained further: use another --workdir')
    if not (workdir / 'config.json').exists():
        if configuration.has_checkpoints(workdir):
            raise InputError(
                f'{workdir} contains checkpoints, but no config.json: restore config.json from a copy, '
                f'or use another --workdir'
            )
        return
    old = configuration.load_run(workdir)
    for key in ('fingerprint', 'train_fingerprint'):  # older runs have none
        old.dataset[key] = old.dataset[key] or config.dataset[key]
    aside = tuple(f'{key}:' for key in not_taken(config, configuration.flatten(config)))
    differing = [line for line in configuration.differences(old, config) if not line.startswith((*MAY_CHANGE, *aside))]
    if differing and configuration.has_begun(workdir):
        raise InputError(
            f'{workdir} contains another run ({"; ".join(differing)}): use another --workdir, or the config and the '
            f'data of that run'
        )


def is_published(workdir: Path) -> bool:
    """Returns whether `workdir` holds a network written by `published.publish`, and no run."""
    file = to_path(workdir) / 'config.json'
    try:
        return is_file(file) and 'published_step' in json.loads(file.read_text(encoding='utf-8'))
    except (ValueError, TypeError, RecursionError):  # damaged: reported when the config is loaded
        return False


def output_of(workdir: Path) -> Path:
    """Returns the output directory of a run: its workdir, or `runs/published/NAME` for a published network."""
    return Path('runs', 'published', absolute(workdir).name) if is_published(workdir) else workdir


@contextlib.contextmanager
def lock_workdir(workdir: Path):
    """Locks `workdir`, in process 0 and not in an object store, until the exit; raises InputError if it is locked."""
    if jax.process_index() or is_remote(workdir):
        yield
        return
    with (workdir / 'lock').open('a+') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise InputError(
                f'{workdir} is in use ({file.read().strip()}): wait until that run ends, or use another --workdir'
            ) from error
        except OSError as error:  # a file system without locks
            logger.warning('%s cannot be locked (%s): make sure that no other run uses it', workdir, error.strerror)
        file.truncate(0)
        print(f'process {os.getpid()} on {platform.node()}', file=file, flush=True)
        yield


def warn_of_other_versions(file: Path) -> None:
    """Warns if the run of `file`, a config.json, was made with other versions than the current ones."""
    facts = json.loads(file.read_text(encoding='utf-8'))
    then = dict(facts.get('versions') or {}) | {'dsconv': facts.get('git_revision')}
    now = versions(PACKAGES) | {'dsconv': _git_revision()}
    if other := [f'{name} {then[name]}, here {now[name]}' for name in now if then.get(name) not in (None, now[name])]:
        logger.warning(
            '%s was made with other versions (%s): results may differ in the last bits', file, '; '.join(other)
        )


def kept_pictures(workdir: Path | None, dataset):
    """Returns (`dataset` section, file that lists its pictures) of the run in `workdir`, or (`dataset`, None).

    Ignores a run of other data, and a run that has not begun, which `check_workdir` lets another run replace.
    """
    has_begun = workdir is not None and configuration.has_begun(workdir)
    if not has_begun or not is_file(workdir / PICTURES) or not is_file(workdir / 'config.json'):
        return dataset, None
    old = configuration.load_run(workdir).dataset
    asked = dict(dataset.items()) | located(dataset)
    computed = ('auto', 'train_fingerprint')
    fixed = [key for key in asked if key not in computed and f'dataset.{key}' not in MAY_CHANGE]
    # A key that is None is unset, except `crop_scale`: None means no random crops.
    is_same = all(asked[key] in (None, old[key]) for key in fixed) and asked['crop_scale'] == old['crop_scale']
    return (old, workdir / PICTURES) if is_same else (dataset, None)


def write_config(workdir: Path, config, source=None) -> None:
    """Writes `config.json` and, if the pictures of `source` are files, the list of them, in process 0.

    Waits first until every process has read the old config. Raises InputError, or RunError if the disk is full.
    """
    multihost_utils.sync_global_devices('workdir checked')
    if jax.process_index() == 0:
        if (workdir / 'config.json').exists():
            warn_of_other_versions(workdir / 'config.json')
        devices = jax.devices()
        facts = {
            'command': command_line(),
            'devices': f'{len(devices)} × {devices[0].device_kind}',
            'processes': jax.process_count(),
            'versions': versions(PACKAGES),
            'git_revision': _git_revision(),
        }
        try:
            if source is not None and source.table:
                replace_file(workdir / PICTURES, source.table())
            configuration.save_run(workdir, config, facts)
        except OSError as error:
            kind = RunError if error.errno in (errno.ENOSPC, errno.EDQUOT) else InputError
            raise kind(f'--workdir={workdir} cannot be written: {error.strerror}') from error


def _git_revision() -> str | None:
    """Returns the commit of the checkout, with `+changes` if files differ from it, or of the archive, or None."""

    def git(*arguments):
        return subprocess.run(
            ['git', '-C', str(configuration.ROOT), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        if Path(git('rev-parse', '--show-toplevel')) == configuration.ROOT:  # not a checkout around an installation
            return git('rev-parse', 'HEAD') + ('+changes' if git('status', '--porcelain', 'dsconv', 'configs') else '')
    file = configuration.ROOT / '.git_archival'  # `git archive` writes the commit into it
    archived = file.read_text().strip() if file.exists() else '$'
    return None if '$' in archived else archived
