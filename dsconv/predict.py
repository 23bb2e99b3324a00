"""python -m dsconv.predict --workdir=DIR PICTURE…: the classes of a person's own pictures."""

import json

from dsconv import cli
from dsconv.errors import InputError

BATCH_SIZE = 64  # pictures; two batches of them are in memory at a time


def predict(arguments) -> None:
    """Prints the most probable classes of each picture that can be read; raises InputError naming the others."""
    from dsconv import config as configuration
    from dsconv.config_checks import check_resolved

    config = configuration.load_run(arguments.workdir)
    check_resolved(config)
    class_names = config.dataset.class_names
    unreadable = []
    for path, probabilities in classify(config, arguments.workdir, arguments.checkpoint, arguments.pictures):
        if isinstance(probabilities, InputError):
            unreadable.append(str(probabilities))
            continue
        best = (-probabilities).argsort(kind='stable')[: arguments.top]
        classes = {class_names[index]: round(float(probabilities[index]), 6) for index in best}
        if arguments.json:
            line = json.dumps({'picture': str(path), 'classes': classes}, ensure_ascii=False)
        else:
            line = f'{path}: ' + ', '.join(f'{name} {100 * value:.1f} %' for name, value in classes.items())
        print(line.encode(errors='backslashreplace').decode())  # a name may hold bytes that are no text
    if unreadable:
        raise InputError('; '.join(unreadable))


def classify(config, workdir, checkpoint, paths):
    """Classifies pictures with the network of a run, in batches of one size, in memory that does not grow with them.

    Args:
      config: of `config.load_run(workdir)`.
      workdir: of the run.
      checkpoint: as for `training.scoring.restore_network`.
      paths: of the pictures.

    Yields: (path, float32 probabilities `(classes,)`), in the order of `paths`; the InputError in place of the
      probabilities of a picture that cannot be read.
    """
    import jax
    import numpy as np

    from dsconv.training.mesh import make_mesh, to_global
    from dsconv.training.scoring import restore_network
    from dsconv.training.step import make_forward

    network, variables, _ = restore_network(workdir, config, checkpoint)
    mesh = make_mesh()
    forward = make_forward(config, network, mesh)
    size = -(-min(BATCH_SIZE, len(paths)) // mesh.size) * mesh.size
    shape = (size, config.dataset.image_size, config.dataset.image_size, config.dataset.channels)
    for some, pictures in _read_batches(paths, size, shape[1], shape[3]):
        readable = [picture for picture in pictures if not isinstance(picture, InputError)]
        images = np.zeros(shape, np.uint8)  # the network is compiled for one shape: the rest of it stays black
        images[: len(readable)] = readable or 0
        rows = iter(np.asarray(jax.numpy.exp(forward(variables, to_global(mesh, images)))) if readable else ())
        for path, picture in zip(some, pictures, strict=True):
            yield path, picture if isinstance(picture, InputError) else next(rows)


def _read_batches(paths, size, image_size, channels):
    """(paths, their pictures or InputErrors) of each `size`; the next ones are read while these are classified."""
    from dsconv.data.picture import read_picture
    from dsconv.data.threads import attempt, map_threads

    def read(path):
        return read_picture(path, image_size, channels)

    following = map_threads(attempt(read), paths[:size])
    for start in range(0, len(paths), size):
        pictures = list(following)
        following = map_threads(attempt(read), paths[start + size : start + 2 * size])
        yield paths[start : start + size], pictures


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
        'pictures', nargs='+', type=cli.path, metavar='PICTURE', help='PNG, JPEG, BMP, GIF, WebP, AVIF, TIFF, PPM'
    )
    return parser


if __name__ == '__main__':
    cli.run(flags(), predict)
