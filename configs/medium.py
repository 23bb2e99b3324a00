"""The thesis's Medium on CIFAR-10: 490,250 parameters, 300 epochs.

    python -m dsconv.main --config=configs/medium.py

The thesis reports 95 % on the test split. Not trained here yet.
"""

from configs import common


def get_config():
    config = common.get_config()
    config.model.dim = 256
    config.model.norm_groups = 8  # as on the thesis's TPU v3-8: statistics over the 64 images of each core
    return config
