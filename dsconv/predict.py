"""python -m dsconv.predict --workdir=DIR PICTURE…: the classes of a person's own pictures."""

import json

from dsconv import cli
from dsconv.errors import InputError


def predict(arguments) -> None:
    """Prints the most probable classes of each picture that can be read; raises InputError naming the others."""
    from dsconv import config as configuration
    from dsconv.config_checks import check_resolved
    from dsconv.data import read_picture

    config = configuration.load_run(arguments.workdir)
    check_resolved(config)
    pictures, unreadable = [], []
    for path in arguments.pictures:
        try:
            pictures.append((path, read_picture(path, config.dataset.image_size, config.dataset.channels)))
        except InputError as error:
            unreadable.append(str(error))
    if pictures:
        _print_classes(arguments, config, *zip(*pictures, strict=True))
    if unreadable:
        raise InputError('; '.join(unreadable))


def _print_classes(arguments, config, paths, images) -> None:
    import jax
    import numpy as np

    from dsconv.training.scoring import restore_network
    from dsconv.training.step import normalise

    dataset = config.dataset
    network, variables, _ = restore_network(arguments.workdir, config, arguments.checkpoint)
    logits = network.apply(variables, normalise(np.stack(images), dataset.mean, dataset.std))
    for path, probabilities in zip(paths, np.asarray(jax.nn.softmax(logits)), strict=True):
        best = np.argsort(-probabilities, kind='stable')[: arguments.top]
        classes = {dataset.class_names[index]: round(float(probabilities[index]), 6) for index in best}
        if arguments.json:
            line = json.dumps({'picture': str(path), 'classes': classes}, ensure_ascii=False)
        else:
            line = f'{path}: ' + ', '.join(f'{name} {100 * value:.1f} %' for name, value in classes.items())
        print(line.encode(errors='backslashreplace').decode())  # a name may hold bytes that are no text


def flags() -> cli.Parser:
    """The command's flags."""
    parser = cli.parser('predict', 'Names the most probable classes of pictures.')
    parser.add_argument(
        '--workdir', type=cli.path, required=True, metavar='DIR', help='of the run whose network predicts'
    )
    cli.add_checkpoint_flag(parser)
    parser.add_argument('--top', type=cli.positive, default=5, metavar='N', help='classes to name (default: 5)')
    parser.add_argument('--json', action='store_true', help='one JSON object a line: picture, classes')
    parser.add_argument(
        'pictures', nargs='+', type=cli.path, metavar='PICTURE', help='PNG, JPEG, BMP, GIF, WebP, TIFF, PPM'
    )
    return parser


if __name__ == '__main__':
    cli.run(flags(), predict)
