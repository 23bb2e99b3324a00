"""The losses against NumPy in double precision, and their gradients against finite differences."""

import jax
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.special import log_expit, log_softmax, softmax
from sklearn.utils.class_weight import compute_class_weight

from configs import common
from dsconv.data.splits import Split
from dsconv.errors import InputError
from dsconv.training.loss import make_loss, resolve_class_weights

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(6, 4), scale=3).astype(np.float32)
SOFT = RANDOM.dirichlet(np.ones(4), size=6).astype(np.float32)


def loss(name, **changes):
    settings = common.get_config().loss
    settings.update(name=name, **changes)
    return make_loss(settings)


def test_binary_cross_entropy_is_a_log_loss_of_each_class():
    targets = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]
    smoothed, logits = 0.9 * targets + 0.1 / 4, LOGITS.astype(np.float64)
    expected = -np.sum(smoothed * log_expit(logits) + (1 - smoothed) * log_expit(-logits), axis=1)
    actual = loss('binary_cross_entropy', label_smoothing=0.1)(LOGITS, targets)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_focal_loss():
    p = softmax(LOGITS.astype(float), axis=1)
    expected = np.sum(SOFT * (1 - p) ** 1.5 * -np.log(p), axis=1)
    np.testing.assert_allclose(loss('focal', focal_gamma=1.5)(LOGITS, SOFT), expected, rtol=1e-4)


def test_the_gradient_of_focal_loss():
    with jax.enable_x64(True):
        check_grads(loss('focal'), (LOGITS.astype(np.float64), SOFT.astype(np.float64)), order=1, modes=['rev'])


@pytest.mark.parametrize(('name', 'gamma'), [('binary_cross_entropy', 0.0), ('focal', 0.0), ('focal', 0.5)])
def test_certainty_keeps_the_gradient_finite(name, gamma):
    certain = np.array([[200.0, 0.0, 0.0, 0.0], [0.0, 200.0, 0.0, 0.0]], np.float32)
    targets = np.eye(4, dtype=np.float32)[[0, 2]]
    total = lambda logits: loss(name, focal_gamma=gamma)(logits, targets).sum()  # noqa: E731
    assert np.isfinite(jax.grad(total)(certain)).all()


def test_balanced_class_weights_are_those_of_scikit_learn():
    labels = np.array([0] * 90 + [1] * 9 + [3])
    resolved = resolve_class_weights('balanced', Split(labels, None, True), 'abcd')
    weights = np.array(resolved.split(','), float)
    expected = compute_class_weight('balanced', classes=np.unique(labels), y=labels)
    np.testing.assert_allclose(weights[[0, 1, 3]], expected, rtol=1e-5)
    np.testing.assert_allclose(weights[labels].mean(), 1, rtol=1e-5)


@pytest.mark.parametrize('text', ['1,2', '1,2,0', '1,nan,2', '1,x,2'])
def test_wrong_class_weights_are_refused(text):
    with pytest.raises(InputError, match='loss.class_weights=.* each of the 3 classes a,b,c'):
        resolve_class_weights(text, None, ('a', 'b', 'c'))


def test_an_example_has_the_weight_of_its_own_class_where_labels_are_smoothed():
    labels, weights = np.array([0, 0, 0, 1, 2, 2]), np.array([0.5, 2, 1])
    targets = np.eye(3, dtype=np.float32)[labels]
    smoothed = 0.8 * targets + 0.2 / 3
    expected = weights[labels] * -np.sum(smoothed * log_softmax(LOGITS[:, :3].astype(float), axis=1), axis=1)
    losses = loss('cross_entropy', class_weights='0.5,2,1', label_smoothing=0.2)(LOGITS[:, :3], targets)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
