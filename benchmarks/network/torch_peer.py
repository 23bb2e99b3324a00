"""The network in PyTorch, eager or torch.compile: NCHW, batch norm over the whole batch, AdamW on every parameter."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

ACTIVATIONS = {
    'gelu': lambda: nn.GELU(approximate='tanh'),
    'gelu_exact': nn.GELU,
    'relu': nn.ReLU,
    'silu': nn.SiLU,
}


def unit(convolution: nn.Conv2d, activation: str) -> nn.Sequential:
    """Makes a convolution, the activation, and batch norm with Keras's momentum (0.99) and epsilon."""
    norm = nn.BatchNorm2d(convolution.out_channels, eps=1e-3, momentum=0.01)
    return nn.Sequential(convolution, ACTIVATIONS[activation](), norm)


class Block(nn.Module):
    """d → d/2 → d/4, depthwise k×k with a residual, → d with a residual; keeps `(batch, dim, height, width)`."""

    def __init__(self, model: dict):
        super().__init__()
        dim, kernel, activation = model['dim'], model['kernel_size'], model['activation']
        half, quarter = (dim // divisor for divisor in model['reduction'])
        depthwise = nn.Conv2d(quarter, quarter, kernel, padding=kernel // 2, groups=quarter)
        self.reduce_1 = unit(nn.Conv2d(dim, half, 1), activation)
        self.reduce_2 = unit(nn.Conv2d(half, quarter, 1), activation)
        self.depthwise = unit(depthwise, activation)
        self.expand = unit(nn.Conv2d(quarter, dim, 1), activation)
        self.residual_depthwise, self.residual_block = model['residual_depthwise'], model['residual_block']

    def forward(self, x):
        reduced = self.reduce_2(self.reduce_1(x))
        mixed = self.depthwise(reduced)
        y = self.expand(reduced + mixed if self.residual_depthwise else mixed)
        return x + y if self.residual_block else y


class Network(nn.Module):
    """`(batch, channels, height, width)` normalised images → `(batch, classes)` logits."""

    def __init__(self, model: dict, channels: int, classes: int):
        super().__init__()
        patch = model['patch_size']
        kernel = model['stem_kernel_size'] or patch
        self.padding = (max(kernel - patch, 0) // 2, (max(kernel - patch, 0) + 1) // 2) * 2  # SAME
        self.stem = unit(nn.Conv2d(channels, model['dim'], kernel, stride=patch), model['activation'])
        self.blocks = nn.Sequential(*(Block(model) for _ in range(model['depth'])))
        self.head = nn.Linear(model['dim'], classes)

    def forward(self, images):
        x = self.stem(F.pad(images, self.padding) if any(self.padding) else images)
        return self.head(self.blocks(x).mean(dim=(2, 3)))


def load(network: Network, arrays) -> None:
    """Copies the exported variables into the network: kernels `(height, width, in, out)`, or `(in, out)` if dense."""
    units = {'stem': network.stem}
    for index, block in enumerate(network.blocks):
        units |= {f'block_{index}/{name}': child for name, child in block.named_children()}
    targets = {'params/head/kernel': network.head.weight, 'params/head/bias': network.head.bias}
    for name, (layer, _, norm) in units.items():
        own = f'{name}_unit/batch_norm'
        targets |= {f'params/{name}/kernel': layer.weight, f'params/{name}/bias': layer.bias}
        targets |= {f'params/{own}/scale': norm.weight, f'params/{own}/bias': norm.bias}
        targets |= {f'batch_stats/{own}/mean': norm.running_mean, f'batch_stats/{own}/var': norm.running_var}
    with torch.no_grad():
        for name, target in targets.items():
            array = arrays[name]
            if name.endswith('kernel'):
                array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
            target.copy_(torch.from_numpy(array).reshape(target.shape))


def prepare(settings: dict) -> dict:
    """Builds the network with the exported variables.

    Args:
      settings: `variant` is 'eager' or 'compile'. With `device` 'cuda', arrays are channels-last. `dtype` 'bfloat16'
        turns on autocast in training. A call of `train` makes `steps` steps and reads the loss of the last step.
    """
    device = torch.device(settings.get('device', 'cpu'))
    place = {'device': device}
    if device.type == 'cuda':
        place['memory_format'] = torch.channels_last
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=settings.get('dtype') == 'bfloat16')
    arrays = np.load(settings['arrays'], allow_pickle=False)
    images, labels = torch.from_numpy(arrays['images']), torch.from_numpy(arrays['labels']).long()
    images = ((images / 255 - torch.tensor(settings['mean'])) / torch.tensor(settings['std'])).permute(0, 3, 1, 2)
    images, labels = images.contiguous().to(**place), labels.to(device)
    network = Network(settings['model'], images.shape[1], settings['classes'])
    load(network, arrays)
    network = network.to(**place)
    rates, betas = settings['optimizer'], (settings['optimizer']['b1'], settings['optimizer']['b2'])
    options = dict(lr=settings['learning_rate'], betas=betas, eps=rates['eps'], weight_decay=rates['weight_decay'])
    optimizer = torch.optim.AdamW(network.parameters(), **options, fused=device.type == 'cuda')
    model = torch.compile(network) if settings['variant'] == 'compile' else network

    def train():
        model.train()
        for _ in range(settings.get('steps', 1)):
            optimizer.zero_grad()
            with autocast:
                loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def inference():
        model.eval()
        return model(images).cpu().numpy()

    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {'parameters': parameters, 'train': train, 'inference': inference}
