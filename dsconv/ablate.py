"""python -m dsconv.ablate --config=configs/small.py --study=kernel_size: trains variants of a config, compares them."""

from dsconv import cli


def ablate(arguments) -> None:
    """Trains the unfinished runs of the study that `arguments` name; prints and writes the result."""
    from dsconv.studies import ablation
    from dsconv.studies.study import read_study
    from dsconv.studies.sweep import run_study

    run_study(read_study(arguments.study), arguments, ablation)


def flags() -> cli.Parser:
    parser = cli.parser(
        'ablate', 'Trains the variants of a study, several seeds each, and compares them with the first.'
    )
    parser.add_argument(
        '--study', required=True, metavar='NAME|FILE', help='one of configs/studies, e.g. kernel_size, or a TOML file'
    )
    cli.add_study_flags(parser, output='runs/<study>-<name of the config>')
    return parser


if __name__ == '__main__':
    cli.run(flags(), ablate)
