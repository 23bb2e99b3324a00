"""The thesis's Large on CIFAR-10: 996,362 parameters, 300 epochs.

    python -m dsconv.main --config=configs/large.py

The thesis reports 97 % on the test split. Its 1.0092 GFLOPs are those of this config, whose stem is as large as the
patch; its 998,666 parameters are those of `--config.model.stem_kernel_size=2`. Not trained here yet.
"""

from configs import common


def get_config():
    config = common.get_config()
    config.model.patch_size = 1
    config.model.dim = 256
    config.model.depth = 16
    config.model.kernel_size = 7
    config.model.norm_groups = 8  # the thesis's TPU v3-8: each core by its own 64 images
    return config
