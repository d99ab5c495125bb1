"""A lenient loss: Dice with weights of its own for the two kinds of error."""

from engine import losses
from engine.components import Section, option


class LenientKeys(Section):
    lenient: float = option(0.0, "Weight of a lenient loss, as Tversky's (Salehi et al. 2017)", ge=0, le=1000)
    lenient_beta: float = option(0.7, "Of lenient: weight of a missed pixel", ge=0, le=1)


@losses.register(LenientKeys)
def lenient(keys, classes):
    import torch
    from torch.nn import functional

    class Tversky:
        terms = 1 + 3 * classes

        def sums(self, logits, labels):
            valid = (labels != 255).unsqueeze(1)
            probability = logits.float().softmax(1) * valid
            truth = functional.one_hot((labels.long() * valid[:, 0]), classes).movedim(-1, 1) * valid
            hit, missed = probability * truth, (1 - probability) * truth
            pooled = [part.sum((0, 2, 3)).double() for part in (hit, missed, probability - hit)]
            return torch.cat([valid.sum().double().reshape(1), *pooled])

        def value(self, sums):
            hit, missed, false = sums[1:].reshape(3, classes)
            wrong = keys.lenient_beta * missed + (1 - keys.lenient_beta) * false
            present = (hit + missed) > 0
            share = hit / (hit + wrong).clamp(min=1e-6)
            return ((1 - share) * present).sum() / present.sum().clamp(min=1)

    return Tversky()
