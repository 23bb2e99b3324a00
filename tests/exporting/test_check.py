from dsconv.exporting.check import fault


def test_int8_may_lose_what_is_allowed_and_no_more():
    for right in range(4, 300):
        losses = {lost: right / 300 - (right - lost) / 300 for lost in (3, 4)}
        results = {lost: {'labelled': 300, 'loss_of_accuracy': loss} for lost, loss in losses.items()}
        assert fault(results[3], 'int8', 1 / 100) is None
        assert '4 of 300 pictures' in fault(results[4], 'int8', 1 / 100)
    unlabelled = {'labelled': 50, 'loss_of_accuracy': None, 'agreement': 48 / 50}
    assert fault(unlabelled, 'int8', 4 / 100) is None
    assert fault(unlabelled, 'int8', 3 / 100) is not None
