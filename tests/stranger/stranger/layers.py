from torch import nn
from torch.nn import functional

from engine.models.contract import SegmentationNetwork


class StridedNetwork(SegmentationNetwork):
    def __init__(self, inputs, outputs, channels, dilation):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(inputs, channels, 3, stride=2, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(channels, outputs, 1)

    def forward(self, images):
        logits = self.head(self.encoder(images))
        return functional.interpolate(logits, size=images.shape[2:], mode="bilinear")

    def bottleneck(self):
        return self.encoder
