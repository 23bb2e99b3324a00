"""The thesis's Large: 996,362 parameters."""

from configs import common


def get_config():
    config = common.get_config()
    config.model.patch_size = 1
    config.model.dim = 256
    config.model.depth = 16
    config.model.kernel_size = 7
    config.model.norm_groups = 8  # the thesis's TPU v3-8: each core by its own 64 images
    return config
