"""A published network: a run's directory with the evaluated weights, but without the state to resume training."""

import json
import shlex
from pathlib import Path

from dsconv import config as configuration
from dsconv.data.source import public_name
from dsconv.files import absolute, is_remote, new_directory, require_new, to_path
from dsconv.training.calibration import read_temperature, save_temperature
from dsconv.training.checkpoint import Checkpoints
from dsconv.training.network import restore_network

# Keys of `dataset` in `config.json` that are paths on one machine; they say nothing about the network.
PATHS = ('data_dir', 'archive', 'root')
PATH_FLAGS = ('--workdir', '--output', '--config.init_from', '--config.loss.teachers')
PATH_FLAGS += tuple(f'--config.dataset.{name}' for name in PATHS)
PATH_FLAGS += ('--coordinator', '--num-processes', '--process-id')  # flags of a run on several machines


def publish(workdir: Path, output: Path, which: str | None = None) -> int:
    """Writes the network of a checkpoint of a run to the new directory `output`; returns the checkpoint's step.

    `output` holds `config.json` without paths of this machine, and a checkpoint of the evaluated variables alone,
    without optimizer, with its temperature. It is created completely or not at all. Raises InputError if the run or
    checkpoint does not exist, or `output` exists or is in an object store.
    """
    require_new(output)
    config = configuration.load_run(workdir)
    _, variables, step = restore_network(workdir, config, which)
    facts = json.loads((to_path(workdir) / 'config.json').read_text(encoding='utf-8'))
    del facts['config']
    if 'command' in facts:
        facts['command'] = without_paths(facts['command'])
    with config.unlocked():
        config.dataset.update(dict.fromkeys(PATHS))
        config.init_from = config.init_from and absolute(config.init_from).name
        config.loss.teachers = config.loss.teachers and tuple(absolute(each).name for each in config.loss.teachers)
        config.dataset.name = public_name(config.dataset.name)
    with new_directory(output) as partial:
        configuration.save_run(partial, config, facts | {'published_step': step})
        with Checkpoints(partial) as checkpoints:
            checkpoints.save_network(step, variables)
        if temperature := read_temperature(workdir, step):
            save_temperature(partial, step, temperature)
        for file in partial.rglob('commit_success.txt'):  # Orbax writes the path of the directory into it
            file.write_text('Checkpoint commit was successful\n')
    return step


def without_paths(command: str) -> str:
    """Returns a command line without the flags for paths or machines, given as `--flag=value` or `--flag value`.

    The dataset and the study, which the command needs, are reduced to their names, and so are the config and all other
    values if they are absolute or remote paths, or begin with `~` or `../`.
    """
    kept, words = [], iter(shlex.split(command))
    for word in words:
        flag, has_value, value = word.partition('=')
        if flag in (*PATH_FLAGS, *NAMED) and not has_value:
            value = next(words, '')
        if flag in NAMED:
            kept.append(f'{flag}={NAMED[flag](value)}')
        elif flag not in PATH_FLAGS:
            kept.append(f'{flag}{has_value}{_name(value)}' if flag.startswith('-') else _name(word))
    return shlex.join(kept)


def _name(path: str) -> str:
    return Path(path).name if is_remote(path) or path.startswith(('/', '~', '../')) else path


def _config_name(path: str) -> str:
    file, argument = configuration.split_argument(path)
    return ':'.join([_name(file), *(Path(each).name for each in argument)])


# Flag → function that removes private directories from its value.
NAMED = {'--config.dataset.name': public_name, '--study': lambda path: Path(path).name}
NAMED |= dict.fromkeys(('--config', '--baseline'), _config_name)
