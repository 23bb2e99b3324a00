"""The default policy in torchvision.transforms.v2 on uint8 tensors, in torchvision's ranges."""

import torch
from torchvision.transforms import v2

from benchmarks.process import random_batch


def prepare(task: dict) -> dict:
    """Returns the function that augments and returns a batch: by image, or by batch with one draw for all images."""
    torch.set_num_threads(1)
    settings, classes = task['augment'], task['classes']
    images, labels = (torch.from_numpy(part) for part in random_batch(task))
    images, labels, fill = images.permute(0, 3, 1, 2).contiguous(), labels.long(), settings['fill']
    magnitude = round(3 * settings['randaugment_magnitude'])  # one of torchvision's 31 bins
    crop = v2.RandomCrop(images.shape[-1], padding=settings['crop_padding'])
    randaugment = v2.RandAugment(settings['randaugment_layers'], magnitude, fill=fill)
    autoaugment = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10, fill=fill)
    augment = v2.Compose([crop, v2.RandomHorizontalFlip(), v2.RandomChoice([randaugment, autoaugment])])
    mixup = v2.MixUp(alpha=settings['mixup_alpha'], num_classes=classes)
    cutmix = v2.CutMix(alpha=settings['cutmix_alpha'], num_classes=classes)
    share = settings['cutmix_probability']
    mix = v2.RandomApply([v2.RandomChoice([cutmix, mixup], p=[share, 1 - share])], p=settings['mix_probability'])

    def run():
        by_image = task['variant'] == 'by image'
        augmented = torch.stack([augment(image) for image in images]) if by_image else augment(images)
        return mix(augmented.float(), labels)

    return {'augment': run}
