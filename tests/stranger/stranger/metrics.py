"""Metrics: one of images, one with a number per class and no bound."""

from engine import metrics


@metrics.register(per_image=True)
def worst_accuracy(confusions, classes):
    """Lowest pixel accuracy of an image."""
    shares = [one.diagonal().sum() / one.sum() for one in confusions if one.any()]
    return min(shares, default=None)


@metrics.register(better="lower", high=None, unit="px")
def missed(confusion, classes):
    """Pixels of each class that were taken for another."""
    return confusion.sum(axis=1) - confusion.diagonal()
