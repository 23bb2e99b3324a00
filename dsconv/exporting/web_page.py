"""Writes a static web page that classifies pictures from the camera or from files in the browser."""

import hashlib
import tarfile
import zlib
from pathlib import Path

from dsconv.errors import InputError
from dsconv.files import is_directory, is_file, to_json

SOURCES = Path(__file__).with_name('web')
PAGES = ('index.html', 'app.js', 'picture.js')
PACKAGE, VERSION = 'onnxruntime-web', '1.30.0'
ARCHIVE = Path(f'{PACKAGE}-{VERSION}.tgz')
# File in the package's dist/ → SHA-256.
RUNTIME = {
    'ort.wasm.min.js': 'faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81',
    'ort-wasm-simd-threaded.mjs': 'e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b',
    'ort-wasm-simd-threaded.wasm': '3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2',
}


def read_runtime(path: Path | None) -> dict[str, bytes]:
    """Returns the files of the browser runtime, from an installed npm package or from an archive made by `npm pack`.

    `path` is the package or the archive; by default, it is searched for in the current directory. Raises InputError if
    it is missing or has another version.
    """
    places = [path] if path else [ARCHIVE, Path('node_modules', PACKAGE)]
    place = next((place for place in places if is_file(place) or is_directory(place)), None)
    if place is None:
        where = f'--runtime={path} is not there' if path else '--format=web needs the runtime of browsers'
        raise InputError(f'{where}: run npm pack {PACKAGE}@{VERSION}, and give --runtime={ARCHIVE}')
    files = {}
    for name, checksum in RUNTIME.items():
        try:
            if is_directory(place):
                files[name] = (place / 'dist' / name).read_bytes()
            else:
                with tarfile.open(place) as archive:
                    files[name] = archive.extractfile(f'package/dist/{name}').read()
        except (OSError, KeyError, AttributeError, tarfile.TarError, zlib.error, EOFError) as error:
            raise InputError(f'--runtime={place} has no {name}: give {PACKAGE} {VERSION}, as npm packs it') from error
        if hashlib.sha256(files[name]).hexdigest() != checksum:
            raise InputError(f'--runtime={place}: its {name} is not that of {PACKAGE} {VERSION}: npm pack it again')
    return files


def write(directory: Path, network: bytes, metadata: dict, runtime: dict[str, bytes]) -> None:
    """Writes the page with an ONNX file, its `card.metadata` and the files of `read_runtime` into a new directory."""
    files = {name: (SOURCES / name).read_bytes() for name in PAGES} | runtime
    files |= {'model.onnx': network, 'model.json': to_json(metadata).encode()}
    content = hashlib.sha256(b''.join(hashlib.sha256(files[name]).digest() for name in sorted(files))).hexdigest()
    worker = (SOURCES / 'worker.js').read_text(encoding='utf-8')
    worker = worker.replace('CACHE_NAME', f'dsconv-{content[:16]}')
    worker = worker.replace("'FILE_NAMES'", ', '.join(f"'{name}'" for name in sorted(files)))
    directory.mkdir()
    for name, content in (files | {'worker.js': worker.encode()}).items():
        (directory / name).write_bytes(content)
