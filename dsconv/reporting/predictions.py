"""A table of predictions, one row per picture, written incrementally: CSV or JSON lines."""

import contextlib
import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dsconv.errors import InputError
from dsconv.files import is_directory, is_remote, make_directory, replace_file, to_json

FORMATS = ('.csv', '.jsonl')
NONE = '–'  # in place of a class if no class reaches the threshold
DIGITS = 6  # decimal places of a probability


class PredictionsFile(contextlib.AbstractContextManager):
    """Context manager that writes predictions. The file gets its name when it is complete.

    Until then it is `FILE.partial` in the same directory, which remains after an error, with complete rows; for an
    object store it is in memory, and lost after an error. CSV has the columns of `facts`, class, probability, error,
    and one per class, called `NAME (class)` if the class has the name of another column. A JSON line has the `facts`,
    and `class`, `probability` and `probabilities` (class → probability), or `error`.
    """

    def __init__(self, path: Path, class_names: Sequence[str], facts: Sequence[str] = ('path',)):
        """Opens the file; raises InputError if its extension is not in `FORMATS`, or it is a directory."""
        if path.suffix.lower() not in FORMATS:
            raise InputError(f'{path} must end with {" or ".join(FORMATS)}')
        if is_directory(path):
            raise InputError(f'{path} is a directory: give the name of a file')
        make_directory(path.parent)
        self._path, self._names, self._facts = path, list(class_names), list(facts)
        self._partial = None if is_remote(path) else path.with_name(f'{path.name}.partial')
        # A path may contain bytes that are not text, which Python represents as lone surrogates.
        how = dict(encoding='utf-8', errors='backslashreplace', newline='')
        self._file = self._partial.open('w', **how) if self._partial else io.TextIOWrapper(io.BytesIO(), **how)
        self._csv = None
        if path.suffix.lower() == '.csv':
            # All text is quoted, because a carriage return in an unquoted name would end its row.
            self._csv = csv.writer(self._file, lineterminator='\n', quoting=csv.QUOTE_NONNUMERIC)
            columns = [*facts, 'class', 'probability', 'error']
            self._csv.writerow([*columns, *(f'{name} (class)' if name in columns else name for name in class_names)])

    def write(self, facts: Sequence, probabilities: np.ndarray, threshold: float = 0.0) -> None:
        """Writes a row: the most probable class, or none if below the threshold, and all `(classes,)` probabilities."""
        best = int(probabilities.argmax())
        name = self._names[best] if probabilities[best] >= threshold else None
        values = [round(float(value), DIGITS) for value in probabilities]
        by_class = dict(zip(self._names, values, strict=True))
        answer = {'class': name, 'probability': values[best], 'probabilities': by_class}
        self._write(facts, [NONE if name is None else name, values[best], '', *values], answer)

    def write_error(self, facts: Sequence, error: str) -> None:
        """Writes the row of a picture that cannot be read."""
        self._write(facts, ['', '', error, *[''] * len(self._names)], {'error': error})

    def _write(self, facts, cells, answer):
        if self._csv:
            self._csv.writerow([*facts, *cells])
        else:
            self._file.write(f'{to_json(dict(zip(self._facts, facts, strict=True)) | answer)}\n')

    def __exit__(self, *exception) -> None:
        with self._file:
            if exception[0] is not None:
                return
            self._file.flush()
            if self._partial is None:
                return replace_file(self._path, self._file.buffer.getvalue())
            os.fsync(self._file.fileno())
        os.replace(self._partial, self._path)
