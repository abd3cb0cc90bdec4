"""Consistency of style among samples, and agreement with the requested collection."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Statistics = Float[Tensor, "_image statistic"]


def unity(statistics: Statistics, scale: Float[Tensor, " statistic"]) -> Float[Tensor, ""]:
    """The mean cosine similarity of the style statistics of all pairs of images; 1 for equal statistics.

    ``scale`` is the root mean square of every statistic over the training images, which weights them equally.
    """
    unit = F.normalize(statistics.double() / scale.double().clamp(min=1e-6), dim=1)
    count = len(unit)
    return (unit.sum(0).square().sum() - count) / (count * (count - 1))


def scale_of(statistics: Statistics) -> Float[Tensor, " statistic"]:
    """The root mean square of every statistic over a set of images."""
    return statistics.double().square().mean(0).sqrt()


class Probe:
    """A linear classifier of collections, on standardised statistics of real images (Alain & Bengio 2017)."""

    def __init__(
        self, features: Float[Tensor, "image feature"], labels: Int[Tensor, " image"], decay: float = 1e-2
    ) -> None:
        """Fit a multinomial logistic regression; ``decay`` is the coefficient of the squared norm of its weights."""
        self.mean = features.mean(0)
        self.deviation = features.std(0).clamp(min=1e-6)
        x = self._standardised(features)
        classes = int(labels.max()) + 1
        weight = torch.zeros(features.shape[1], classes, requires_grad=True)
        bias = torch.zeros(classes, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, history_size=10, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            total = F.cross_entropy(x @ weight + bias, labels) + decay * weight.square().sum()
            total.backward()
            return total

        optimizer.step(loss)  # pyrefly: ignore - torch annotates the closure as returning float
        self.weight, self.bias = weight.detach(), bias.detach()

    def __call__(self, features: Float[Tensor, "_image feature"]) -> Int[Tensor, " _image"]:
        """The most likely collection of each image."""
        return (self._standardised(features) @ self.weight + self.bias).argmax(1)

    def _standardised(self, features: Float[Tensor, "_image feature"]) -> Float[Tensor, "_image feature"]:
        return (features - self.mean) / self.deviation
