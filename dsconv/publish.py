"""python -m dsconv.publish --workdir=DIR --output=DIR2: writes only the network of a run, to share it."""

from dsconv import cli


def publish(arguments) -> None:
    """Writes the published network and prints how to use it."""
    from dsconv.config import find_workdir
    from dsconv.training import published

    step = published.publish(find_workdir(arguments.workdir), arguments.output, arguments.checkpoint)
    print(f'{arguments.output} holds the network of step {step}; evaluate and predict take it as --workdir')


def flags() -> cli.Parser:
    parser = cli.parser('publish', 'Writes only the weights of a run, without the optimizer state.')
    parser.add_argument('--workdir', type=cli.path, required=True, metavar='DIR', help='workdir of the run')
    parser.add_argument('--output', type=cli.path, required=True, metavar='DIR', help='a new directory')
    cli.add_checkpoint_flag(parser)
    return parser


if __name__ == '__main__':
    cli.run(flags(), publish)
