"""Compares each network in float32, as LiteRT and ONNX in their runtimes, with JAX; tests the page in Chromium.

The page needs Chromium, and the file of `npm pack onnxruntime-web` in the current directory; otherwise it is skipped.
"""

import dataclasses

import jax
import numpy as np
from PIL import Image

from dsconv import config as configuration
from dsconv import export
from dsconv.config_checks import resolve_without_data
from dsconv.data.picture import read_picture
from dsconv.errors import InputError
from dsconv.exported import open_exported
from dsconv.exporting import bundle, card, litert, web_page
from dsconv.exporting.network import Exported
from dsconv.exporting.onnx_file import to_onnx
from dsconv.models import MODELS
from dsconv.training.network import build_network, image_shape
from dsconv.training.state import init_variables
from tests.browser import CHROMIUM, Browser, served

SIZES = {'alexnet': 67, 'vgg16': 32, 'vgg19': 32, 'resnet50': 64, 'vit_base': 32}  # pixels per side
PICTURES = 3
PUBLISHED = configuration.ROOT / 'pretrained' / 'small'


def drill(seed, directory):
    """Returns the largest differences of log-probabilities, by network and format, and what the page showed."""
    found = {name: _network(name, seed, directory) for name in MODELS}
    worst = max(max(differences.values()) for differences in found.values())
    assert worst < 1e-3, found
    return {'networks': found, 'page': page(directory)}


def _network(name, seed, directory):
    size = SIZES.get(name, 32)
    config = configuration.load('configs/small.py', [f'model.name={name}', f'dataset.image_size={size}'])
    config = resolve_without_data(config)
    network, generator = build_network(config), np.random.default_rng(seed)
    variables = jax.device_get(jax.jit(lambda: init_variables(network, image_shape(config), seed))())

    def stirred(path, leaf):  # so that every norm and bias has an effect
        kind = path[-1].key
        if kind in ('scale', 'var'):
            return np.float32(leaf * generator.uniform(0.7, 1.4, leaf.shape))
        return np.float32(leaf + generator.normal(0, 0.1, leaf.shape)) if kind in ('bias', 'mean') else leaf

    exported = Exported(config, jax.tree_util.tree_map_with_path(stirred, variables), step=0)
    images = generator.integers(0, 256, (PICTURES, *image_shape(config)), np.uint8)
    spread = float(jax.jit(exported.logits)(images).std())  # otherwise, some probabilities may be 0
    exported = dataclasses.replace(exported, temperature={'temperature': spread})
    expected, graph = np.log(exported.reference()(images)), exported.graph()
    metadata = card.metadata(exported, directory, float_input=False)
    files = {'model.tflite': litert.with_metadata(litert.to_litert(graph), metadata)}
    files['model.onnx'] = to_onnx(graph, metadata)
    differences = {}
    for file, content in files.items():
        (directory / file).write_bytes(content)
        answer = np.log(open_exported(directory / file)(images))
        differences[file] = float(np.abs(answer - expected).max())
    print(name, differences, flush=True)
    return differences


def page(directory):
    """Returns the page's labels of a picture, a camera film and the picture offline, which must be those of Python."""
    try:
        web_page.read_runtime(None)
    except InputError as error:
        return f'left out: {error}'
    if CHROMIUM is None:
        return 'left out: Chromium is not installed'
    options = export.flags().parse_args([f'--workdir={PUBLISHED}', '--format=web', '--check-pictures=50'])
    _, faults = bundle.export(directory / 'out', options)
    assert not faults, faults
    network = open_exported(directory / 'out' / 'web' / 'model.onnx')
    picture, frame, film = configuration.ROOT / 'docs' / 'seven.png', directory / 'frame.png', directory / 'film.mjpeg'
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).resize((320, 240), Image.Resampling.BICUBIC).save(film, format='JPEG', quality=95)
    Image.open(film).save(frame)
    film.write_bytes(film.read_bytes() * 8)  # several frames, one JPEG after the other
    expected = [network.class_names[network(read_picture(path, 32, 3)[None])[0].argmax()] for path in (picture, frame)]
    flags = ['--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream']
    shown, label = [], "document.getElementById('answer').dataset.label"
    flags += [f'--use-file-for-fake-video-capture={film}']
    with Browser(*flags) as tab:

        def classify():
            tab.go(address)
            tab.wait_for('document.body?.dataset.ready')
            tab.choose('#file', picture)
            shown.append(tab.wait_for(label))

        with served(directory / 'out' / 'web') as address:
            classify()
            tab.value(f"{label} = ''; document.getElementById('camera').click()")
            shown.append(tab.wait_for(label))
            for width in (390, 1280):
                tab.call(
                    'Emulation.setDeviceMetricsOverride', width=width, height=800, deviceScaleFactor=1, mobile=False
                )
                assert tab.value('document.documentElement.scrollWidth') <= width
            tab.wait_for('navigator.serviceWorker.controller !== null')
        tab.value("document.body.dataset.ready = ''")
        classify()
    assert shown == [*expected, expected[0]], (shown, expected)
    return dict(zip(('picture', 'camera', 'offline'), shown, strict=True))
