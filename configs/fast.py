"""The thesis's Small on CIFAR-10 in ten epochs, for a CPU.

    python -m dsconv.main --config=configs/fast.py

It uses Muon, a learning rate that decays to almost zero, EMA weights, and little augmentation: in ten epochs, a
network of 130,442 parameters cannot memorise its training images. The settings were chosen without a search.
"""

from configs import common


def get_config():
    config = common.get_config()
    config.batch_size = 128
    config.epochs = 10
    config.dataset.validation_fraction = 0.1
    config.model.norm_groups = 4  # norm groups of 32 images: a CPU trains fastest with microbatches of that size
    config.optimizer.name = 'muon'
    config.optimizer.ema_decay = 0.995  # averages over about half an epoch
    config.schedule.name = 'linear'
    config.schedule.init_value = 1e-4
    config.schedule.end_value = 1e-5
    config.schedule.warmup_epochs = 1.0
    config.augment.crop_padding = 2
    config.augment.crop_mode = 'reflect'
    config.augment.flip = 'alternating'
    config.augment.policy = 'none'
    config.augment.mix_probability = 0.0
    config.loss.label_smoothing = 0.1
    return config
