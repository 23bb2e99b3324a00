"""Writes cats and dogs of CIFAR-10 as pictures with a table, for the study `imbalance`: 100 training cats per dog.

    python -m benchmarks.rare_class cats_and_dogs

The training and validation splits both come from the training images of CIFAR-10; its test split is not read.
"""

import csv

import numpy as np
from PIL import Image

from dsconv import cli
from dsconv.config import defaults
from dsconv.data import open_source
from dsconv.training.examples import OF_ITS_PLACE, say_where

COUNTS = {'cat': {'train': 3000, 'validation': 1000}, 'dog': {'train': 30, 'validation': 1000}}


def write(arguments) -> None:
    """Writes `table.csv` and the pictures to `arguments.directory`."""
    config = defaults()
    say_where(config, arguments.overrides, OF_ITS_PLACE)
    source = open_source(config.dataset)
    split, rows = source.load('train'), []
    for name, counts in COUNTS.items():
        members = np.flatnonzero(split.labels == source.class_names.index(name))
        parts = np.repeat(list(counts), list(counts.values()))
        (arguments.directory / name).mkdir(parents=True, exist_ok=True)
        for index, image, part in zip(members, split.images(members[: len(parts)]), parts, strict=False):
            path = f'{name}/{index:05d}.png'
            Image.fromarray(image).save(arguments.directory / path)
            rows.append((path, name, part))
    with (arguments.directory / 'table.csv').open('w', newline='') as file:
        csv.writer(file).writerows([('path', 'label', 'split'), *rows])


def flags() -> cli.Parser:
    about = 'Writes cats and dogs of CIFAR-10, dogs a hundred times rarer.'
    parser = cli.Parser(prog='python -m benchmarks.rare_class', description=about, allow_abbrev=False)
    parser.add_argument('directory', type=cli.path, metavar='DIR')
    cli.add_place_flag(parser, 'where CIFAR-10 is: data_dir or archive')
    return parser


if __name__ == '__main__':
    cli.run(flags(), write)
