"""python -m dsconv.compare --config=configs/small.py --models=dsconv,resnet8: compares networks with one recipe."""

from dsconv import cli


def compare(arguments) -> None:
    """Trains the unfinished runs of the networks that `arguments` name; prints and writes the comparison."""
    from dsconv.models import MODELS
    from dsconv.studies import comparison
    from dsconv.studies.study import of_models
    from dsconv.studies.sweep import run_study

    run_study(of_models(arguments.models, MODELS), arguments, comparison)


def flags() -> cli.Parser:
    parser = cli.parser('compare', 'Trains several networks with one recipe, several seeds each, and compares them.')
    parser.add_argument(
        '--models', required=True, metavar='NAMES', help='e.g. dsconv,resnet8; the others are compared with the first'
    )
    cli.add_study_flags(parser, output='runs/compare-<name of the config>')
    return parser


if __name__ == '__main__':
    cli.run(flags(), compare)
