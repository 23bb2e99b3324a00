"""python -m dsconv.evaluate --workdir=DIR|--model=FILE: scores a split with a trained network and writes a report."""

from dsconv import cli
from dsconv.errors import InputError
from dsconv.files import absolute, check_output, is_file, is_remote


def evaluate(arguments) -> None:
    """Scores a split, writes its report and prints the accuracy."""
    from dsconv.reporting.sections import loss, percent, top5

    scored = {'split': arguments.split, 'dataset': arguments.dataset, 'where': arguments.overrides}
    scored |= {'drawn_examples': arguments.examples, 'predictions': arguments.predictions}
    report, output = (_of_file if arguments.model else _of_run)(arguments, scored)
    among_five = f'top-5 {top5(report)}, ' if top5(report) else ''
    print(
        f'{report["dataset"]} {report["split"]}, {report["num_examples"]:,} images, checkpoint of step '
        f'{report["checkpoint_step"]}: accuracy {percent(report["accuracy"])}, {among_five}loss {loss(report)}\n'
        f'{output / "report.md"}'
    )


def _of_run(arguments, scored):
    from dsconv.config import find_workdir
    from dsconv.training.run import output_of
    from dsconv.training.scoring import report_run

    workdir = find_workdir(arguments.workdir)
    if arguments.tta and arguments.calibrate:
        raise InputError('--calibrate fits the temperature without --tta: leave one of them out')
    if arguments.dataset:
        for flag in ('robustness', 'calibrate'):
            if getattr(arguments, flag):
                raise InputError(f"--{flag} needs the run's own data and cannot be used with --dataset")
    is_own = not (arguments.dataset or arguments.tta)
    _refuse_report(arguments.output, output_of(workdir) / 'report', is_own)
    output = arguments.output or output_of(workdir) / f'{_name(arguments)}{"_tta" if arguments.tta else ""}'
    check_output(output)  # before anything is scored
    scored |= {'which': arguments.checkpoint, 'corrupted': arguments.robustness, 'calibrate': arguments.calibrate}
    scored['tta'] = arguments.tta
    return report_run(workdir, output=output, **scored), output


def _of_file(arguments, scored):
    from dsconv.exported import check_exported
    from dsconv.exporting.scoring import report_exported

    for flag in ('robustness', 'calibrate', 'checkpoint', 'tta'):
        if getattr(arguments, flag):
            raise InputError(f'--{flag} needs a run: give its --workdir instead of --model')
    _refuse_report(arguments.output)
    file = arguments.model
    check_exported(file)
    output = arguments.output or file.with_name(f'{file.name}.{_name(arguments)}')
    check_output(output)
    return report_exported(file, output, **scored), output


def _refuse_report(output, own=None, may_replace=False):
    """Raises InputError if `--output` is a run's report; `may_replace` allows it if the report is `own`."""
    if output is None:
        return
    place, own = (path if path is None or is_remote(path) else path.resolve() for path in (output, own))
    is_report = place.name == 'report' and is_file(place.parent / 'config.json')
    if not may_replace if place == own else is_report:
        raise InputError(f"--output={output} is a run's own report: give another directory")


def _name(arguments) -> str:
    """Returns the name of the report's directory; only a report of the test split replaces the report of training."""
    from dsconv.config import NAMELESS, TABLE
    from dsconv.data.listing import SPLIT_NAMES

    if not arguments.dataset:
        return 'report' if arguments.split in (None, 'test') else f'report_{arguments.split}'
    kind, _, path = arguments.dataset.partition(':')
    name = arguments.dataset.replace('/', '-')
    if kind in ('image_folder', 'image_table'):
        path = absolute(path)
        table = TABLE.fullmatch(path.name) if kind == 'image_table' else None
        name = table[1] if table else path.name
        if name.lower() in (*NAMELESS, *SPLIT_NAMES):  # to tell a/test from b/test
            name = f'{path.parent.name}-{name}'
    return f'report-{name}_{arguments.split}' if arguments.split else f'report-{name}'


def flags() -> cli.Parser:
    parser = cli.parser('evaluate', 'Scores a split with a trained network and writes a report.')
    cli.add_network_flags(parser)
    text = 'test, validation or train (default: test, or validation where the data has no test split)'
    parser.add_argument('--split', type=cli.text, help=text)
    text = 'other data, its classes matched by name: image_folder:PATH, image_table:FILE.csv, or a name of TFDS'
    parser.add_argument('--dataset', type=cli.text, metavar='NAME', help=text)
    text = (
        'directory of the report (default: WORKDIR/report; with another --split than test WORKDIR/report_SPLIT, with '
        '--dataset WORKDIR/report-NAME, with --tta …_tta; for a published network in runs/published/NAME, for --model '
        'FILE.report)'
    )
    parser.add_argument('--output', type=cli.path, metavar='DIR', help=text)
    text = "writes each example's path, truth and prediction into predictions.csv"
    parser.add_argument('--predictions', action='store_true', help=text)
    text = 'fits the temperature again on the validation split, and stores it with the checkpoint'
    parser.add_argument('--calibrate', action='store_true', help=text)
    text = 'also scores the split under corruptions of five severities'
    parser.add_argument('--robustness', action='store_true', help=text)
    text = 'draws the predictions of N examples, chosen by a fixed seed, into examples.png (default: none)'
    parser.add_argument('--examples', type=cli.positive, default=0, metavar='N', help=text)
    text = (
        'location of the data; KEY is data_dir or archive, for a published network or --model also root, with '
        '--dataset also root, label_key, splits, …'
    )
    cli.add_place_flag(parser, text)
    return parser


if __name__ == '__main__':
    cli.run(flags(), evaluate)
