"""The thesis's Medium: 490,250 parameters."""

from configs import common


def get_config():
    config = common.get_config()
    config.model.dim = 256
    config.model.norm_groups = 8  # the thesis's TPU v3-8: each core by its own 64 images
    return config
