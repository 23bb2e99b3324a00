"""python -m tests.drills [NAME …] [--seed=0] [--output=results/drills]: injects faults into runs and writes results.

kills       30 SIGKILLs over one run, which must end with the same bits
damage      each file of the newest checkpoint truncated, emptied, zeroed, bit-flipped, lengthened, deleted
disk        a full disk during a checkpoint, the log and a report; a read-only one (Linux, as root)
processes   2 and 4 processes against one; one of them killed
memory      resident memory over 3,040 steps and 160 evaluations
exports     every network as LiteRT and ONNX; the page for browsers, by a picture and a camera
"""

import argparse
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path

from dsconv.files import write_json
from dsconv.process import prepare_process

DRILLS = ('kills', 'damage', 'disk', 'processes', 'memory', 'exports')


def main() -> int:
    """Runs the drills; returns the exit code, 1 if a drill has failed."""
    parser = argparse.ArgumentParser(
        prog='python -m tests.drills', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('names', nargs='*', metavar='NAME', help='all by default')
    parser.add_argument('--seed', type=int, default=0, help='of the moments and places of damage')
    parser.add_argument('--output', type=Path, default=Path('results/drills'))
    arguments = parser.parse_args()
    prepare_process()  # quiet libraries
    names = arguments.names or DRILLS
    if unknown := set(names) - set(DRILLS):
        parser.error(f'no drill {", ".join(unknown)}; there are {", ".join(DRILLS)}')
    arguments.output.mkdir(parents=True, exist_ok=True)
    return max(_drill(name, arguments.seed, arguments.output) for name in names)


def _drill(name, seed, output):
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f'drill-{name}-') as directory:
        try:
            found = importlib.import_module(f'tests.drills.{name}').drill(seed, Path(directory))
        except AssertionError as error:
            found = {'failed': (str(error) or repr(error))[-1000:]}
    result = {'drill': name, 'seed': seed, 'seconds': round(time.monotonic() - began), **found}
    write_json(output / f'{name}.json', result)
    print(json.dumps(result), flush=True)
    return int('failed' in found)


if __name__ == '__main__':
    sys.exit(main())
