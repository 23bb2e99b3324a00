"""The thesis's Small on CIFAR-10: 130,442 parameters, 300 epochs.

    python -m dsconv.main --config=configs/small.py

The thesis reports 93 % on the test split. The whole run has not been made here yet; a short one,

    python -m dsconv.main --config=configs/small.py --config.epochs=12 --config.schedule.warmup_epochs=1

ended at 71.1 % on CIFAR-10 (JPEG copy), and at 75.9 % with crop and flip alone (--config.augment.policy=none
--config.augment.mix_probability=0), at some 200 images/s on two CPU cores (results/small-12-epochs-augmented,
results/small-12-epochs).
"""

from configs import common


def get_config():
    config = common.get_config()
    config.model.norm_groups = 8  # the thesis's TPU v3-8: each core by its own 64 images
    return config
