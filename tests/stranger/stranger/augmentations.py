"""Random erasing: a square of the image turns black and its labels void."""

from engine import augment
from engine.components import Section, option


class EraseKeys(Section):
    erase: float = option(0.0, "Probability of an erased square", ge=0, le=1)


@augment.register(EraseKeys, order=augment.GEOMETRY)
def erase(keys):
    def change(images, labels, draws):
        height, width = labels.shape[1:]
        side = min(height, width) // 4
        chance, down, right = draws.of(3, len(images))
        images, labels = images.clone(), labels.clone()
        for sample in range(len(images)):
            if chance[sample] < keys.erase:
                top, left = int(down[sample] * (height - side)), int(right[sample] * (width - side))
                images[sample, top : top + side, left : left + side] = 0
                labels[sample, top : top + side, left : left + side] = 255
        return images, labels

    return change if keys.erase > 0 else None
