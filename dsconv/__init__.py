"""dsconv: a tiny, accurate image classifier trained fast on a TPU."""

import os


def load(path, checkpoint: str | None = None, tta: bool = False):
    """Returns a trained network, which maps uint8 pictures of any size to the probabilities of its `class_names`.

        network = dsconv.load('pretrained/small')
        probabilities = network(images)    # float32 (N, classes)

    Args:
      path: the workdir of a run, or a published network, looked up in the current directory, then among the networks
        shipped with dsconv; or a .tflite or .onnx file written by `dsconv.export`, which runs without JAX.
      checkpoint: 'latest', 'best' or a step. The default is the best by validation accuracy, if any, else the latest.
      tta: averages over several views of a picture (test-time augmentation); not available for an exported file.

    Returns a `dsconv.data.unlabelled.Network`. Raises InputError if there is no such run, checkpoint or file.
    """
    from dsconv.errors import InputError
    from dsconv.exported import RUNTIMES, open_exported

    if str(path).endswith(tuple(RUNTIMES)) or os.path.isfile(path):
        if checkpoint:
            raise InputError(f'{path} is a file of one checkpoint: leave checkpoint={checkpoint} out')
        if tta:
            raise InputError(f'{path} is an exported file: test-time augmentation (tta) needs the run')
        return open_exported(path)
    from dsconv.training.classifier import Classifier  # not imported by `import dsconv`, since it imports JAX

    return Classifier(path, checkpoint, tta)
