"""ImageNet at 224×224 pixels, which the thesis lists first as future work. Not trained on ImageNet.

    python -m dsconv.main --config=configs/imagenet.py    # imagenet2012 of TensorFlow Datasets, already prepared
    python -m dsconv.main --config=configs/imagenet.py --config.dataset.name=image_folder:PATH    # train/, val/

Patches of 14 pixels give 16×16 positions, as Small has on CIFAR-10; patches of 7 give 32×32, as Large has. Pictures are
read from disk when they are needed, and cropped at random when they are decoded.

The settings were chosen without a search.
"""

from configs import common


def get_config():
    config = common.get_config()
    config.batch_size = 1024
    config.epochs = 90
    config.dataset.name = 'imagenet2012'
    config.dataset.image_size = 224
    config.dataset.channels = 3
    config.dataset.resize = 'crop'
    config.dataset.crop_scale = (0.25, 1.0)
    config.model.patch_size = 14
    config.model.dim = 512
    config.model.depth = 16
    config.model.kernel_size = 7
    config.model.norm_groups = 8
    config.model.dtype = 'bfloat16'
    config.optimizer.ema_decay = 0.9998
    config.schedule.name = 'cosine'
    config.schedule.peak_value = 0.002
    config.augment.crop_padding = 0
    config.augment.policy = 'randaugment'
    config.loss.label_smoothing = 0.1
    config.eval.batch_size = 1024
    config.eval.final_split = 'validation'  # the labels of the test split are not public
    return config
