"""python -m dsconv.main --config=configs/small.py: trains or resumes a run and writes its report."""

import logging
from pathlib import Path

from dsconv import cli
from dsconv.errors import InputError
from dsconv.files import is_remote


def main(arguments) -> None:
    """Trains in the workdir that `arguments` name, then scores the final split."""
    from dsconv import config as configuration
    from dsconv import process

    workdir = arguments.workdir or Path('runs', configuration.name_of(arguments.config))
    if not arguments.workdir and configuration.is_run(arguments.config):  # this run is resumed
        workdir = configuration.find_file(arguments.config).parent
    if arguments.profile and is_remote(workdir):
        raise InputError(f'--profile writes only to a local workdir, not to {workdir}: leave it out')
    config = configuration.load(arguments.config, arguments.overrides, workdir)
    process.connect(arguments.coordinator, arguments.num_processes, arguments.process_id)

    from dsconv.training.loop import train
    from dsconv.training.run import warn_of_other_versions
    from dsconv.training.scoring import own_report, report_run
    from dsconv.training.setup import open_source

    if arguments.workdir and configuration.is_run(arguments.config):
        warn_of_other_versions(configuration.find_file(arguments.config))
    logger = logging.getLogger('dsconv')
    source = open_source(config, workdir)
    split = source.final_split(config.eval.final_split)
    has_trained = train(config, workdir, source, arguments.profile)
    report = None if has_trained else own_report(workdir, split)
    if report:
        longer = 'set a higher --config.epochs, or --config.eval.patience if it stopped early'
        logger.info('%s has already finished (to train longer, %s)', workdir, longer)
    else:
        report = report_run(workdir, split, source=source, calibrate='validation' in source.split_sizes)
    if report:  # empty in the processes that do not write it
        file = workdir / 'report' / 'report.md'
        logger.info('%s: accuracy %.2f %%; report: %s', report['split'], 100 * report['accuracy'], file)


def flags() -> cli.Parser:
    parser = cli.parser('main', 'Trains the network of a config, or resumes its run.')
    cli.add_config_flag(parser)
    text = 'workdir of the run (default: runs/<name of the config>; the directory of a config.json)'
    parser.add_argument('--workdir', type=cli.path, metavar='DIR', help=text)
    text = 'writes a trace of N steps, after three warm-up dispatches, to WORKDIR/profile, for TensorBoard and '
    text += 'ui.perfetto.dev'
    parser.add_argument('--profile', type=cli.positive, default=0, metavar='N', help=text)
    text = 'for a run of several processes: address of process 0, or auto on a TPU pod or SLURM'
    parser.add_argument('--coordinator', metavar='HOST:PORT', help=text)
    parser.add_argument('--num-processes', type=int, metavar='N', help='number of processes, with --coordinator')
    parser.add_argument('--process-id', type=int, metavar='I', help='index of this process, from 0')
    return parser


if __name__ == '__main__':
    cli.run(flags(), main)
