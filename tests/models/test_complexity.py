"""Counts against the thesis's published figures, others' and counts by hand."""

import pytest

from dsconv.models import build_model
from dsconv.models.complexity import layer_costs
from tests.models.test_zoo import named


def network(**options):
    return build_model({'name': 'dsconv', 'dtype': 'float32', 'depth': 8, **options}, 10)


SMALL = dict(patch_size=2, dim=128, kernel_size=5)
LARGE = dict(patch_size=1, dim=256, kernel_size=7, depth=16)


def total(costs, key):
    return sum(getattr(cost, key) for cost in costs)


@pytest.mark.parametrize(
    ('options', 'parameters', 'gflops'),
    [
        (SMALL, 130_442, '0.0325'),
        (SMALL | {'dim': 256}, 490_250, '0.1238'),
        (LARGE, 996_362, '1.0092'),
        (LARGE | {'stem_kernel_size': 2}, 998_666, '1.0116'),  # the published parameters of Large
    ],
)
def test_the_figures_of_the_thesis(options, parameters, gflops):
    costs = layer_costs(network(**options), (32, 32, 3))
    assert total(costs, 'parameters') == parameters
    assert str(total(costs, 'thesis_flops') / 1e9)[:6] == gflops


def test_the_costs_of_a_block_by_hand():
    costs = {cost.path: cost for cost in layer_costs(network(**SMALL), (32, 32, 3))}
    places = 16 * 16
    assert costs['stem'].macs == places * 2 * 2 * 3 * 128
    assert costs['block_0/depthwise'].macs == places * 25 * 32
    assert costs['block_0/expand'].macs == places * 32 * 128
    assert costs['block_0/expand'].flops == 2 * costs['block_0/expand'].macs + places * 128
    assert costs['block_0/expand_unit/batch_norm'].flops == 2 * places * 128
    assert costs['pool'].flops == places * 128
    assert costs['head'].macs == 1280
    costs = {cost.path: cost for cost in layer_costs(named('vit_tiny'), (32, 32, 3))}
    assert costs['block_0/product'].flops == 2 * costs['block_0/product'].macs == 4 * 65 * 65 * 192
    assert costs['tokens'].flops == 65 * 192


@pytest.mark.parametrize(
    ('network', 'side', 'millions'),
    [
        # torchvision's tables of its models' operations;
        (named('resnet50', 1000), 224, 4089),
        (named('vit_base', 1000), 224, 17564),
        # the README of chenyaofo/pytorch-cifar-models.
        (named('mobilenetv2_050'), 32, 27.97),
    ],
    ids=['resnet50', 'vit_base', 'mobilenetv2_050_cifar'],
)
def test_macs_are_the_published_ones(network, side, millions):
    assert total(layer_costs(network, (side, side, 3)), 'macs') / 1e6 == pytest.approx(millions, rel=2e-4)
