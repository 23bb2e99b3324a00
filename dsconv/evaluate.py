"""python -m dsconv.evaluate --workdir=DIR: scores a split by a checkpoint of a run and writes the report."""

from pathlib import Path

from dsconv import cli


def evaluate(arguments) -> None:
    """Scores a split, writes its report and prints the accuracy."""
    from dsconv.reporting.sections import loss, percent, top5
    from dsconv.training.run import is_published
    from dsconv.training.scoring import report_run

    # Only the test split's report takes the place of the one that training wrote.
    name = 'report' if arguments.split in (None, 'test') else f'report_{arguments.split}'
    workdir = arguments.workdir
    directory = Path('runs', 'published', workdir.name) if is_published(workdir) else workdir
    output = arguments.output or directory / name
    report = report_run(
        workdir, arguments.split, arguments.checkpoint, output, arguments.robustness, arguments.examples
    )
    among_five = f'top-5 {top5(report)}, ' if top5(report) else ''
    print(
        f'{report["dataset"]} {report["split"]}, {report["num_examples"]:,} images, checkpoint of step '
        f'{report["checkpoint_step"]}: accuracy {percent(report["accuracy"])}, {among_five}loss {loss(report)}\n'
        f'{output / "report.md"}'
    )


def flags() -> cli.Parser:
    """The command's flags."""
    parser = cli.parser('evaluate', 'Scores a split by a checkpoint of a run and writes the report.')
    parser.add_argument('--workdir', type=cli.path, required=True, metavar='DIR', help='of the run')
    parser.add_argument(
        '--split', help='test, validation or train (default: test, or validation where the data has no test split)'
    )
    cli.add_checkpoint_flag(parser)
    parser.add_argument(
        '--output',
        type=cli.path,
        metavar='DIR',
        help="the report's directory (default: WORKDIR/report, of other splits WORKDIR/report_SPLIT; of a published "
        'network runs/published/NAME/…)',
    )
    parser.add_argument(
        '--robustness', action='store_true', help='also scores the split under corruptions of five severities'
    )
    parser.add_argument(
        '--examples',
        type=cli.positive,
        default=0,
        metavar='N',
        help='draws the predictions of N examples, chosen by a fixed seed, into examples.png (default: none)',
    )
    return parser


if __name__ == '__main__':
    cli.run(flags(), evaluate)
