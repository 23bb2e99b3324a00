"""python -m dsconv.evaluate --workdir=DIR|--model=FILE: scores a split by a trained network and writes the report."""

from pathlib import Path

from dsconv import cli
from dsconv.errors import InputError


def evaluate(arguments) -> None:
    """Scores a split, writes its report and prints the accuracy."""
    from dsconv.reporting.sections import loss, percent, top5

    report, output = (_of_file if arguments.model else _of_run)(arguments)
    among_five = f'top-5 {top5(report)}, ' if top5(report) else ''
    print(
        f'{report["dataset"]} {report["split"]}, {report["num_examples"]:,} images, checkpoint of step '
        f'{report["checkpoint_step"]}: accuracy {percent(report["accuracy"])}, {among_five}loss {loss(report)}\n'
        f'{output / "report.md"}'
    )


def _of_run(arguments):
    from dsconv.config import find_workdir
    from dsconv.training.scoring import report_run

    workdir = find_workdir(arguments.workdir)
    output = _output(arguments, workdir)
    report = report_run(
        workdir,
        arguments.split,
        arguments.checkpoint,
        output,
        arguments.robustness,
        arguments.examples,
        calibrate=arguments.calibrate,
        dataset=arguments.dataset,
        predictions=arguments.predictions,
    )
    return report, output


def _of_file(arguments):
    from dsconv.exporting.scoring import report_exported

    for flag in ('robustness', 'calibrate', 'checkpoint'):
        if getattr(arguments, flag):
            raise InputError(f'--{flag} is for a run: give its --workdir instead of --model')
    output = arguments.output or Path('runs', 'exported', arguments.model.stem, 'report')
    return report_exported(
        arguments.model, output, arguments.dataset, arguments.split, arguments.examples, arguments.predictions
    ), output


def _output(arguments, workdir) -> Path:
    """Returns the directory of the report. Raises InputError for flags that do not go together."""
    from dsconv.training.run import is_published

    if not arguments.dataset:
        # Only the test split's report takes the place of the one that training wrote.
        name = 'report' if arguments.split in (None, 'test') else f'report_{arguments.split}'
    else:
        if flag := '--robustness' * arguments.robustness or '--calibrate' * arguments.calibrate:
            raise InputError(f"{flag} is of the run's own data and does not go with --dataset")
        if arguments.output and arguments.output.resolve() == (workdir / 'report').resolve():
            raise InputError(f"--output={arguments.output} is the run's own report: give another directory")
        kind, _, path = arguments.dataset.partition(':')
        name = f'report-{Path(path).stem if kind.startswith("image_") else arguments.dataset.replace("/", "-")}'
    directory = Path('runs', 'published', workdir.name) if is_published(workdir) else workdir
    return arguments.output or directory / name


def flags() -> cli.Parser:
    """The command's flags."""
    parser = cli.parser('evaluate', 'Scores a split by a trained network and writes the report.')
    cli.add_network_flags(parser)
    text = 'test, validation or train (default: test, or validation where the data has no test split)'
    parser.add_argument('--split', help=text)
    text = 'other data to score, its classes matched by name: image_folder:PATH, or a name of TensorFlow Datasets'
    parser.add_argument('--dataset', metavar='NAME', help=text)
    text = (
        "the report's directory (default: WORKDIR/report, of other splits WORKDIR/report_SPLIT, of other data "
        'WORKDIR/report-NAME; of a published network in runs/published/NAME, of a file in runs/exported/NAME)'
    )
    parser.add_argument('--output', type=cli.path, metavar='DIR', help=text)
    text = "writes each example's path, truth and prediction into predictions.csv"
    parser.add_argument('--predictions', action='store_true', help=text)
    text = "fits the network's temperature anew on the validation part, and keeps it with the checkpoint"
    parser.add_argument('--calibrate', action='store_true', help=text)
    text = 'also scores the split under corruptions of five severities'
    parser.add_argument('--robustness', action='store_true', help=text)
    text = 'draws the predictions of N examples, chosen by a fixed seed, into examples.png (default: none)'
    parser.add_argument('--examples', type=cli.positive, default=0, metavar='N', help=text)
    return parser


if __name__ == '__main__':
    cli.run(flags(), evaluate)
