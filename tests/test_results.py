"""Tests that the CIFAR-10 results in results/ and pretrained/ are of the published images; and the shipped recipe."""

import json

import pytest

from dsconv.config import ROOT, flatten, load, load_run

# `data.fingerprint` of the 50,000 training and the 10,000 test images of the original, lossless CIFAR-10.
CIFAR10 = {
    'train': '9529ca6bff8c58e021744f85f5c1deecd447ec15fb608e939f3eec881eb68970',
    'test': '8d172ba652686f0bd364fc7360f9a76bf8d02be9b35ce0a4b16f5c4abcc0466d',
}
# The same images enlarged, by the directory of the result.
ENLARGED = {
    'cifar10-224': {
        'train': '45f92282ff74654131584efbcb2186b9cce0de2ede8400bae1abd01a813c8d3d',
        'test': '1b5533e68b79b4eebc29ee2e2b85b16650d97c447ee3cedf10dc23951f11dad4',
    }
}
FILES = [file for folder in ('results', 'pretrained') for file in sorted((ROOT / folder).rglob('*.json'))]


@pytest.mark.parametrize('split', ['train', 'test'])
def test_every_figure_of_cifar10_is_of_the_real_one(split):
    found = {}
    for file in FILES:
        content = json.loads(file.read_text())
        if split == 'train' and file.name == 'config.json' and content['config']['dataset']['name'] == 'cifar10':
            found[file] = content['config']['dataset']['fingerprint']
        elif 'data_fingerprint' in content and (content['dataset'], content['split']) == ('cifar10', split):
            found[file] = content['data_fingerprint']
    assert found
    expected = {file: ENLARGED.get(file.parent.name, CIFAR10)[split] for file in found}
    assert found == expected


def test_the_shipped_recipe_is_that_of_the_result():
    trained = flatten(load_run(ROOT / 'results/small-45'))
    said = {key: value for key, value in flatten(load('configs/best.py')).items() if value is not None}
    assert {key: trained[key] for key in said} == said
