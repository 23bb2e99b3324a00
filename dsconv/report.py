"""python -m dsconv.report --workdirs DIR DIR … --output=DIR: gathers the reports of several runs on one page."""

import logging

from dsconv import cli
from dsconv.errors import InputError
from dsconv.files import check_output


def report(arguments) -> None:
    """Writes the page of `arguments.workdirs`; runs without a report are evaluated first."""
    from dsconv import config as configuration
    from dsconv.reporting.page import write_page

    workdirs, output = list(map(configuration.find_workdir, arguments.workdirs)), arguments.output
    check(workdirs, output)
    write_page(output, {workdir: complete(workdir, arguments.robustness) for workdir in workdirs})
    print(f'{output / "report.html"}\n{output / "report.md"}')


def check(workdirs, output) -> None:
    """Raises InputError for a directory that is not a workdir or is named twice, OSError for an unusable output."""
    from dsconv import config as configuration
    from dsconv.reporting import read_metrics
    from dsconv.reporting.page import read_report
    from dsconv.training.run import output_of

    resolved = [output_of(workdir).resolve() for workdir in workdirs]
    for index, workdir in enumerate(workdirs):
        configuration.load_run(workdir)
        read_report(workdir)
        read_metrics(workdir)
        if resolved[index] in resolved[:index]:
            raise InputError(f'--workdirs: {workdir} is named twice, or has the name of another published network')
        if output.resolve() in (resolved[index] / 'report', workdir.resolve() / 'report'):
            raise InputError(f"--output={output} is a run's own report: give another directory")
    check_output(output)


def complete(workdir, robustness: bool):
    """Writes a run's report if missing, or adds `robustness` to it, for the split and checkpoint of the old report.

    Returns: the directory that holds `report`. Nothing is written into a published network.
    """
    from dsconv import config as configuration
    from dsconv.reporting.page import read_report
    from dsconv.training.checksums import identity
    from dsconv.training.run import output_of

    output = output_of(workdir)

    def is_here(report):
        step = report and workdir / 'checkpoints' / str(report['checkpoint_step'])
        if not step or not step.exists():
            return False
        if output == workdir and 'network' not in report:  # written by an earlier version
            return True
        return report.get('network') == identity(step)  # another network may have the same name and step

    place = output if is_here(read_report(output)) else workdir  # `output` may be of another network with this name
    there = read_report(place)
    if there and (not robustness or 'robustness' in there):
        return place
    split, checkpoint, drawn = configuration.load_run(workdir).eval.final_split, None, 0
    if is_here(there):
        split, checkpoint, drawn = there['split'], str(there['checkpoint_step']), there.get('drawn_examples', 0)

    from dsconv.training.scoring import report_run

    logging.getLogger('dsconv').info('scoring %s', workdir)
    report_run(workdir, split, checkpoint, output / 'report', corrupted=robustness, drawn_examples=drawn)
    return output


def flags() -> cli.Parser:
    parser = cli.parser('report', 'Gathers the reports of several runs into one page, as HTML and as Markdown.')
    text = 'workdirs of the runs, in the order of the page'
    parser.add_argument('--workdirs', type=cli.path, nargs='+', required=True, metavar='DIR', help=text)
    parser.add_argument('--output', type=cli.path, required=True, metavar='DIR', help='for report.html and report.md')
    text = 'with the accuracy under corruptions of five severities'
    parser.add_argument('--robustness', action='store_true', help=text)
    return parser


if __name__ == '__main__':
    cli.run(flags(), report)
