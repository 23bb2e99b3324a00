"""python -m dsconv.predict --workdir=DIR|--model=FILE PICTURE…: classifies the user's pictures."""

import sys
from contextlib import nullcontext

from dsconv import cli
from dsconv.errors import InputError, on_one_line
from dsconv.files import to_json

NAMED = 10  # unreadable pictures, at most, that the error message names


def predict(arguments) -> None:
    """Prints the classes of each readable picture, or writes them to a file; raises InputError naming the others."""
    from tqdm import tqdm

    from dsconv import load
    from dsconv.data.unlabelled import answers, find_pictures
    from dsconv.exported import check_exported
    from dsconv.reporting.predictions import PredictionsFile

    if arguments.output and (arguments.json or arguments.top is not None):
        raise InputError('--json and --top cannot be used with --output, which writes all classes: leave them out')
    if arguments.model:
        check_exported(arguments.model)  # otherwise, `load` could take the path for a run
    network = load(arguments.model or arguments.workdir, arguments.checkpoint, arguments.tta)
    paths = find_pictures(arguments.pictures)
    unreadable, unsure, faults = 0, 0, []
    with PredictionsFile(arguments.output, network.class_names) if arguments.output else nullcontext() as file:
        is_watched = sys.stderr is not None and sys.stderr.isatty()  # None if the shell closed it by `2>&-`
        is_silent = file or not sys.stdout.isatty()  # otherwise, the printed lines show the progress
        bar = {'total': len(paths), 'unit': ' pictures', 'disable': not (is_silent and is_watched)}
        for path, answer in tqdm(answers(network, paths), **bar):
            if isinstance(answer, InputError):
                unreadable += 1
                faults += [str(answer)] if len(faults) < NAMED else []
                if file:
                    file.write_error([path], str(answer))
                continue
            unsure += bool(answer.max() < arguments.threshold)
            if file:
                file.write([path], answer, arguments.threshold)
            else:
                _print(path, answer, network.class_names, arguments)
    if file:
        none = f', {unsure:,} of them as none of the classes' if unsure else ''
        print(f'{len(paths) - unreadable:,} of {len(paths):,} pictures classified{none}: {arguments.output}')
    if unreadable:
        more = f'; and {unreadable - NAMED:,} more' if unreadable > NAMED else ''
        raise InputError('; '.join(faults) + more)


def _print(path, answer, class_names, arguments) -> None:
    """Prints the most probable classes of a picture, as text or as a line of JSON."""
    best = (-answer).argsort(kind='stable')[: arguments.top or 5]
    classes = {class_names[index]: round(float(answer[index]), 6) for index in best}
    is_none = answer[best[0]] < arguments.threshold
    if arguments.json:
        none = {'none': True} if is_none else {}
        print(to_json({'picture': path, **none, 'classes': classes}))
    else:
        line = ', '.join(f'{name} ({100 * value:.1f} %)' for name, value in classes.items())
        print(on_one_line(f'{path}: none of the classes; most probable: {line}' if is_none else f'{path}: {line}'))


def flags() -> cli.Parser:
    parser = cli.parser('predict', 'Classifies pictures: prints their most probable classes.')
    cli.add_network_flags(parser)
    text = 'a table .csv, or .jsonl, of path, class, and the probability of each class'
    parser.add_argument('--output', type=cli.path, metavar='FILE', help=text)
    parser.add_argument('--top', type=cli.positive, metavar='N', help='classes to name (default: 5)')
    parser.add_argument('--json', action='store_true', help='prints one JSON object per line: picture, classes')
    text = 'least probability of a class: below it a picture is none of the classes (default: 0)'
    parser.add_argument('--threshold', type=cli.probability, default=0.0, metavar='P', help=text)
    text = "files, folders, or patterns such as 'pictures/**/*.png'"
    parser.add_argument('pictures', nargs='+', type=cli.path, metavar='PICTURE', help=text)
    return parser


if __name__ == '__main__':
    cli.run(flags(), predict)
