"""The embedded default: handwritten digits that ship inside scikit-learn."""

from configs import common


def get_config():
    config = common.get_config()
    config.dataset.name = 'digits'
    config.batch_size = 64
    config.epochs = 30
    config.model.patch_size = 1
    config.model.dim = 64
    config.model.depth = 4
    config.model.kernel_size = 3
    config.schedule.warmup_epochs = 3.0
    config.augment.crop_padding = 1
    config.checkpoint.every_epochs = 5
    return config
