"""python -m launch.tpu STEP --name=NAME --zone=ZONE: a TPU VM from its creation to its deletion. See docs/launch.md."""

import argparse
import itertools
import math
import re
import subprocess
import sys
from pathlib import Path

from dsconv import cli
from dsconv.errors import InputError, RunError
from launch.commands import Commands
from launch.runs import carry_out, on_worker
from launch.vm import RUNTIMES, TpuVm

ROOT = Path(__file__).resolve().parent.parent


def create(vm: TpuVm, arguments) -> None:
    """Makes the TPU VM, unless it is there."""
    vm.create()


def install(vm: TpuVm, arguments) -> None:
    """Brings the checkout's HEAD and what it needs to all workers."""
    revision = _git('rev-parse', 'HEAD')
    if _git('status', '--porcelain'):
        vm.commands.say('what is not committed stays here')
    code = f'dsconv-{revision[:12]}'
    archive = ROOT / 'runs' / 'launch' / f'{code}.tar.gz'
    vm.commands.run('mkdir', '-p', str(archive.parent))
    vm.commands.run('git', '-C', str(ROOT), 'archive', '--format=tar.gz', f'--output={archive}', revision)
    vm.send(str(archive))
    unpack = f'mkdir -p {code} && tar -xzf {code}.tar.gz -C {code} && ln -sfn {code} dsconv'
    vm.ssh(f'{unpack} && {on_worker("install")}')


def data(vm: TpuVm, arguments) -> None:
    """Has worker 0 prepare the dataset in the bucket, unless it is there."""
    dataset = arguments.dataset or _dataset(arguments.command)
    if dataset in ('none', 'digits') or dataset.startswith('image_folder:'):
        return
    command = ['bash', 'launch/on_worker.sh', 'prepare', dataset, f'{arguments.bucket}/tensorflow_datasets']
    name = 'data-' + re.sub(r'\W', '-', dataset)
    carry_out(vm, name, command, lambda: _prepare(vm, arguments), arguments.restarts, worker='0')


def run(vm: TpuVm, arguments) -> None:
    """Runs the command on all workers, to its end, over preemptions."""
    command = ['env', f'TFDS_DATA_DIR={arguments.bucket}/tensorflow_datasets', *arguments.command]
    module = arguments.command[2]
    if module in RESULTS and _value(arguments.command, RESULTS[module]) is None:
        command.append(f'{RESULTS[module]}={_results(arguments)}')
    if module == 'dsconv.main' and _value(arguments.command, '--coordinator') is None:
        command.append('--coordinator=auto')
    carry_out(vm, arguments.run, command, lambda: _prepare(vm, arguments), arguments.restarts)


def logs(vm: TpuVm, arguments) -> None:
    """Shows the run's log on worker 0 until it ends."""
    vm.ssh(on_worker('follow', arguments.run), '0')


def stop(vm: TpuVm, arguments) -> None:
    """Asks the run to save and leave."""
    vm.ssh(on_worker('stop', arguments.run))


def fetch(vm: TpuVm, arguments) -> None:
    """Copies what the run wrote from the bucket; what is here already is not copied again."""
    results = _results(arguments)
    if results is None:
        vm.commands.say('what the command printed is in its log')
        return
    output = arguments.output or Path('runs', arguments.run)
    vm.commands.run('mkdir', '-p', str(output))
    vm.commands.run('gcloud', 'storage', 'rsync', '--recursive', results, str(output), '--quiet')


def delete(vm: TpuVm, arguments) -> None:
    """Deletes the TPU VM; the bucket stays."""
    vm.delete()


def up(vm: TpuVm, arguments) -> None:
    """All in order, deletion included, unless the VM was there before or is to be kept."""
    vm.commands.run('gcloud', 'storage', 'buckets', 'describe', arguments.bucket, '--format=value(location)', '--quiet')
    for step in (create, install, data, run, fetch):
        vm.commands.say(step.__name__)
        step(vm, arguments)
    if arguments.keep or not vm.made:
        vm.commands.say(f'{vm.name} is kept, and costs until it is deleted')
    else:
        vm.commands.say('delete')
        vm.delete()


STEPS = {step.__name__: step for step in (up, create, install, data, run, logs, stop, fetch, delete)}
RESULTS = {'dsconv.main': '--workdir', 'dsconv.ablate': '--output', 'dsconv.compare': '--output'}
LARGEST_OF_ONE_WORKER = 8  # the number in a type: chips of v5litepod and v6e, else cores
NEEDS = {
    'type': ('up', 'create', 'run'),  # of run: it makes the VM anew when that is preempted
    'bucket': ('up', 'data', 'run', 'fetch'),
    'command': ('up', 'run'),
}


def _prepare(vm, arguments):
    vm.create()
    install(vm, arguments)


def _results(arguments) -> str | None:
    """The directory in a bucket that the command writes into; None of a command that has none."""
    default = f'{arguments.bucket}/runs/{arguments.run}'
    if not arguments.command:
        return default
    flag = RESULTS.get(arguments.command[2])
    return flag and (_value(arguments.command, flag) or default)


def _dataset(command):
    """What the command trains on, by its flags, a line of its config file, or the default of configs/common.py."""
    config = ROOT / (_value(command, '--config') or '')
    written = re.findall(r"dataset\.name = '(.+?)'", config.read_text()) if config.is_file() else []
    return _value(command, '--config.dataset.name') or (written or ['cifar10'])[-1]


def _value(command, flag):
    """What a command line gives a flag, as `--flag=value` or `--flag value`; None where it does not."""
    for word, following in itertools.zip_longest(command, command[1:]):
        if word == flag or word.startswith(f'{flag}='):
            return following if word == flag else word.partition('=')[2]
    return None


def _is_committed(file):
    return not subprocess.run(
        ['git', '-C', str(ROOT), 'cat-file', '-e', f'HEAD:{file}'], capture_output=True
    ).returncode


def _git(*words):
    try:
        git = subprocess.run(['git', '-C', str(ROOT), *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(f'{ROOT} must be a git checkout: what is sent to the workers is its HEAD') from error
    return git.stdout.strip()


def _matching(pattern, example):
    """The type of a flag whose value matches `pattern`."""

    def convert(text):
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f'{text!r} is not of the form of {example}')
        return text

    return convert


def _bucket(text):
    name = _matching('[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]', 'my-bucket or gs://my-bucket')
    return 'gs://' + name(text.removeprefix('gs://').removesuffix('/'))


def _seconds(text):
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f'{text!r} must be a number of seconds')
    return seconds


def _directory(text):
    if not text or '://' in text:
        raise argparse.ArgumentTypeError(f'{text!r} must be a directory of this machine')
    return Path(text).expanduser()


def _restarts(text):
    return 0 if text == '0' else cli.positive(text)


def flags() -> cli.Parser:
    """The launcher's flags; the command for the workers, after `--`, is not among them."""
    steps = ''.join(f'\n  {name:8} {step.__doc__}' for name, step in STEPS.items())
    line = cli.Parser(prog='python -m launch.tpu', description=__doc__ + '\n' + steps, allow_abbrev=False)
    line.formatter_class = argparse.RawDescriptionHelpFormatter
    line.add_argument('step', choices=STEPS, metavar='STEP', help='one of these, given again without harm')
    name = _matching('[a-z]([a-z0-9-]{0,61}[a-z0-9])?', 'my-tpu')
    line.add_argument('--name', required=True, type=name, help='of the VM, and of the queued request')
    zone = _matching('[a-z]+-[a-z]+[0-9]+-[a-z]', 'europe-west4-a')
    line.add_argument('--zone', required=True, type=zone)
    kind = _matching(f'({"|".join(RUNTIMES)})-[1-9][0-9]*', f'v3-8, v5litepod-16 (of {", ".join(RUNTIMES)})')
    line.add_argument('--type', type=kind, help='v3-8, v4-32, v5litepod-16, v6e-8, …')
    line.add_argument('--version', metavar='IMAGE', help='runtime image (default: the one for JAX on this type)')
    line.add_argument('--project', help="default: gcloud's")
    line.add_argument('--service-account', metavar='EMAIL', help='of the workers; it must be able to write the bucket')
    line.add_argument('--spot', action='store_true', help='cheaper, and may be preempted at any time')
    line.add_argument('--queued', action='store_true', help='waits in the queue for a VM, instead of failing at once')
    line.add_argument('--valid-until', metavar='DURATION', help='with --queued: the longest wait, as 6h')
    line.add_argument('--bucket', type=_bucket, help='an existing one, near the zone, for data and runs')
    line.add_argument('--dataset', help="to prepare, or none (default: the command's, else cifar10)")
    run_name = _matching('[A-Za-z0-9][A-Za-z0-9._-]*', 'small-1')
    line.add_argument('--run', type=run_name, help='name of the run (default: that of the VM)')
    line.add_argument('--output', type=_directory, metavar='DIR', help='for fetch (default: runs/<name of the run>)')
    line.add_argument('--restarts', type=_restarts, default=100, metavar='N', help='after preemptions (default: 100)')
    line.add_argument('--poll-seconds', type=_seconds, default=30, metavar='S', help='between two looks (default: 30)')
    line.add_argument('--keep', action='store_true', help='up does not delete the VM at the end')
    line.add_argument('--delete-on-failure', action='store_true', help='deletes what this command made, if it fails')
    line.add_argument('--dry-run', action='store_true', help='prints every command and runs none')
    return line


def parse(parser: cli.Parser, line: list[str]) -> argparse.Namespace:
    """The command line, checked; ends the process with one line and exit code 2 where it is wrong."""
    end = line.index('--') if '--' in line else len(line)
    arguments = parser.parse_args(line[:end])
    arguments.command = line[end + 1 :]
    arguments.run = arguments.run or arguments.name
    for what, steps in NEEDS.items():
        if arguments.step in steps and not getattr(arguments, what):
            how = 'a command after --, as -- python -m dsconv.main --config=…' if what == 'command' else f'--{what}'
            parser.error(f'{arguments.step} needs {how}')
    if arguments.command and arguments.step not in NEEDS['command']:
        parser.error(f'{arguments.step} takes no command')
    if arguments.command:
        _check_command(parser, arguments.command)
        if int(arguments.type.split('-')[1]) > LARGEST_OF_ONE_WORKER and arguments.command[2] != 'dsconv.main':
            parser.error(f'{arguments.command[2]} is one process: take a type of one worker, as v3-8 or v5litepod-8')
    if arguments.valid_until and not arguments.queued:
        parser.error('--valid-until goes with --queued')
    return arguments


def _check_command(parser, command):
    if command[:2] != ['python', '-m'] or not re.fullmatch(r'dsconv\.\w+', ''.join(command[2:3])):
        parser.error('the command after -- must be python -m dsconv.…, not quoted as a whole')
    if not _is_committed(f'{command[2].replace(".", "/")}.py'):
        parser.error(f'there is no {command[2]} in HEAD of the checkout')
    config = _value(command, '--config')
    if config and not config.startswith('gs://'):
        if not _is_committed(config):
            parser.error(
                f'--config={config}: there is no such file in HEAD of the checkout, which is what the workers get'
            )
        _check_keys(parser, config, command)
    flag = RESULTS.get(command[2])
    results = flag and _value(command, flag)
    if results and not results.startswith('gs://'):
        parser.error(f'{flag}={results} is on the VM, and lost with it: give gs://…, or leave it out')


def _check_keys(parser, config, command):
    """As far as this Python has what the workers will have: they would say it too, but on a VM that costs."""
    try:
        from dsconv.config import load
    except ImportError:
        return
    overrides, _ = cli.take_overrides(command[3:])
    try:
        load(str(ROOT / config), overrides)
    except InputError as error:
        parser.error(error)


def main(line: list[str]) -> None:
    """Carries out one step. Ends the process with exit code 0 done, 1 failed, 2 wrong input, 130 interrupted."""
    parser = flags()
    arguments = parse(parser, line)
    fields = ('name', 'zone', 'project', 'type', 'version', 'spot', 'queued', 'valid_until', 'service_account')
    given = {field: getattr(arguments, field) for field in (*fields, 'poll_seconds')}
    vm = TpuVm(commands=Commands(arguments.dry_run), **given)
    try:
        STEPS[arguments.step](vm, arguments)
    except (InputError, RunError) as error:
        parser.fail(_cleaned_up(vm, error, arguments), 2 if isinstance(error, InputError) else 1)
    except Exception as error:  # a fault of the launcher's own must not leave a VM that costs
        vm.commands.say(_cleaned_up(vm, error, arguments))
        raise
    except KeyboardInterrupt:
        parser.exit(130, f'interrupted: {vm.name} and what runs on it go on, and cost; the same command goes on too\n')


def _cleaned_up(vm, error, arguments):
    """The failure in one line, after the VM has been deleted where that is asked for."""
    if not vm.made:
        return error
    if not arguments.delete_on_failure:
        return f'{error}; {vm.name} may be there, and cost: delete it, or give the same command again'
    try:
        vm.delete()
    except RunError as other:
        return f'{error}; {vm.name} could not be deleted, and may cost: {other}'
    return f'{error}; {vm.name} is deleted'


if __name__ == '__main__':
    main(sys.argv[1:])
