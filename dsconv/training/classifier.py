"""A classifier: the network of a run, restored for inference."""

from pathlib import Path

import numpy as np

from dsconv import config as configuration
from dsconv.data.unlabelled import Network
from dsconv.process import without_absl_warnings
from dsconv.reporting.scores import with_temperature
from dsconv.training.calibration import read_temperature
from dsconv.training.mesh import make_mesh, to_global
from dsconv.training.network import restore_network
from dsconv.training.step import make_forward

GROWTH = 8  # batches are padded to 1, 8, 64, … pictures per device: the network is compiled for each size


class Classifier(Network):
    """The network of a run, or a published network, on all devices; `step` is the step of its checkpoint.

    Its logits are divided by `temperature`, which is 1 if none was fitted.
    """

    def __init__(self, workdir: str | Path, which: str | None = None, tta: bool = False):
        """Restores a checkpoint as `restore_network` does; raises InputError if the run or checkpoint is missing."""
        workdir = configuration.find_workdir(workdir)
        config = configuration.load_run(workdir)
        with without_absl_warnings():  # Orbax logs three that do not concern reading
            network, self._variables, self.step = restore_network(workdir, config, which)
        found = read_temperature(workdir, self.step)
        self.temperature = found['temperature'] if found else 1.0
        self._mesh = make_mesh()
        self._forward = make_forward(config, network, self._mesh, tta)
        self.class_names = tuple(config.dataset.class_names)
        self.image_size, self.channels = config.dataset.image_size, config.dataset.channels
        self.resize = config.dataset.resize

    def run(self, images: np.ndarray) -> np.ndarray:
        size = self._mesh.size
        while size < len(images):
            size *= GROWTH
        padded = np.pad(images, [(0, size - len(images)), (0, 0), (0, 0), (0, 0)])
        rows = np.asarray(self._forward(self._variables, to_global(self._mesh, padded)))[: len(images)]
        return np.exp(with_temperature(rows, self.temperature)).astype(np.float32)
