"""Stylization between collections: the content of one image in the style of others, with reference values, as JSON.

python benchmarks/swap.py runs/emoji emoji128.zip --out swap.json

identity   one image as the source of all experts, along the flow, against its reconstruction
swap       held-out images in the style of another collection, against that collection's own drawing, by strength
strengths  11 strengths of `stylize`: distance of the style statistics to the collection's, and the structure kept
leak       stripes and checks as style references: their geometry must not appear in the stylized images
"""

from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from common import options, write
from impasto import api
from impasto.backbone import channel_statistics, feature_distance
from impasto.config import STYLIZE_SAMPLING, Sampling
from impasto.create.sampling import sample_images
from impasto.create.stylize import stylize_batch
from impasto.data import evenly_spaced, prepare
from impasto.evaluate import style
from impasto.evaluate.evaluator import COLUMNS, Evaluator, sheet_of
from impasto.evaluate.swap import held_out_pairs, swap
from impasto.model.blocks import Map
from impasto.model.gaussian import Gaussian
from impasto.model.prior import Condition
from stylization import StyleStatistics, by_impasto, structure_kept, styles_of

SWAP_STRENGTHS = (0.2, 0.4, 0.5, 0.6, 0.8, 1.0)
STRENGTHS = tuple(np.linspace(0, 1, 11).round(1).tolist())


class Benchmark:
    """A model, the evaluator, and the styles of the collections in both."""

    def __init__(self, model: api.Pipeline, source: Path, cache: Path, max_images: int | None) -> None:
        self.model = model
        network = model.network
        images = prepare(source, resolution=network.config.resolution, cache=cache)
        self.evaluator = Evaluator(images, self.model.device, 0, max_images=max_images, cache=cache)
        self.styles = styles_of(model, images)
        self.statistics = StyleStatistics(self.evaluator)
        self.collections = torch.from_numpy(images.collection_ids[self.evaluator.train_indices])
        self.probe = style.Probe(self.evaluator.train.statistics, self.collections)

    def identity(self, count: int) -> dict[str, float]:
        """Feature distances of fused and reconstructed images to the images themselves."""
        image = self.evaluator.batch(evenly_spaced(self.evaluator.images.held_out, count))
        network = self.model.network
        posterior = network.autoencoder.posterior(image)
        settings = Sampling(guidance=1, internal_guidance=1, temperature=0)
        fused = sample_images(network, Condition(posterior), range(len(image)), settings)
        maps = self.evaluator.backbone(image)
        fused_distance, reconstructed_distance = (
            float(feature_distance(self.evaluator.backbone(output), maps).mean())
            for output in (fused, network.autoencoder.reconstruct(image))
        )
        return {
            "fused from itself": fused_distance,
            "reconstructed": reconstructed_distance,
            "ratio": fused_distance / reconstructed_distance,
        }

    def swaps(self, count: int, out: Path | None) -> dict[str, dict[str, float]]:
        """Distances to the target collection's own drawing, and accuracy of the probe, by strength."""
        evaluator = self.evaluator
        pairs = held_out_pairs(evaluator.images, count, 0)
        targets = torch.from_numpy(evaluator.images.collection_ids[pairs.target])
        result = {}
        for strength in SWAP_STRENGTHS:
            stylize = by_impasto(self.model, self.styles, strength)
            swaps = swap(evaluator, pairs, stylize, self.model.network.autoencoder.reconstruct)
            statistics = [channel_statistics(evaluator.backbone(part)).cpu() for part in swaps.images.split(32)]
            stylized, copied = float(swaps.stylized.mean()), float(swaps.copied.mean())
            result[f"strength {strength:g}"] = {
                "stylized": stylized,
                "relative to copying": stylized / copied,
                "copied": copied,
                "nearest other drawing": float(swaps.other.mean()),
                "own drawing reconstructed": float(swaps.reconstructed.mean()),
                "probe accuracy": float((self.probe(torch.cat(statistics)) == targets).double().mean()),
            }
            print(strength, result[f"strength {strength:g}"], flush=True)
            if out:
                part = np.linspace(0, len(pairs.content) - 1, min(COLUMNS, len(pairs.content))).astype(int)
                rows = [evaluator.batch(pairs.content[part]), swaps.images[part], evaluator.batch(pairs.target[part])]
                sheet = sheet_of(rows, ["content", f"stylized, strength {strength:g}", "own drawing"])
                sheet.save(out.with_suffix(f".strength{strength:g}.png"))
        return result

    def strengths(self, count: int, out: Path | None) -> dict[str, object]:
        """Distance of the style statistics to those of the target collection, and the structure kept, by strength."""
        evaluator = self.evaluator
        content = evaluator.batch(evenly_spaced(evaluator.images.held_out, count))
        ids = evaluator.images.collection_ids[evenly_spaced(evaluator.images.held_out, count)]
        others = torch.from_numpy((ids + 1) % len(evaluator.images.collections))
        goals = torch.stack([self.statistics.train[self.collections == other].mean(0) for other in others.tolist()])
        distances, kept, rows = [], [], [content[:COLUMNS]]
        for strength in STRENGTHS:
            decoded = self._stylized(content, self.styles[others], strength)
            distances.append(float((self.statistics(decoded) - goals).norm(dim=1).mean()))
            kept.append(float(structure_kept(decoded, content).mean()))
            rows.append(decoded[:COLUMNS])
        if out:
            labels = ["content", *(f"strength {s:g}" for s in STRENGTHS)]
            sheet_of(rows, labels).save(out.with_suffix(".strengths.png"))
        return {
            "strengths": STRENGTHS,
            "style distance": distances,
            "structure kept": kept,
            "spearman of the style distance": float(spearmanr(STRENGTHS, distances).statistic),
            "spearman of the structure": float(spearmanr(STRENGTHS, kept).statistic),
        }

    def leak(self, count: int, strength: float) -> dict[str, float]:
        """Cosine of the edges of stylized images with those of their reference, and with those of other references."""
        content = self.evaluator.batch(evenly_spaced(self.evaluator.images.held_out, count))
        references = geometry(content.shape[1], content.shape[2]).to(content.device)
        styles = self.model.network.autoencoder.styles(references)
        own, other = [], []
        for index in range(len(references)):
            decoded = self._stylized(content, styles[[index]].expand(len(content)), strength)
            for second in range(len(references)):
                score = structure_kept(decoded, references[second].expand_as(decoded))
                (own if index == second else other).append(score)
        return {"own reference": float(torch.cat(own).mean()), "another reference": float(torch.cat(other).mean())}

    def _stylized(self, content: Map, styles: Gaussian, strength: float) -> Map:
        seeds = range(len(content))
        return stylize_batch(
            self.model.network, content, styles, strength=strength, seeds=seeds, settings=STYLIZE_SAMPLING
        )


def geometry(channels: int, side: int) -> Map:
    """Vertical stripes, horizontal stripes and checks in dark blue on white."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    patterns = torch.stack([x // 4 % 2, y // 4 % 2, (x // 8 + y // 8) % 2]).float()[:, None]
    ink = torch.tensor([0.1, 0.1, 0.4])[:, None, None]
    image = 1 - patterns * (1 - ink)
    return torch.cat([image, image.new_ones(3, channels - 3, side, side)], 1)


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=128, help="images or pairs for each measurement")
    parser.add_argument("--real", type=int, help="maximum number of training images to compare with (default: all)")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    model = api.load(arguments.run, arguments.device)
    with model.cache() as cache:
        benchmark = Benchmark(model, arguments.images, cache, arguments.real)
        result: dict[str, object] = {"identity": benchmark.identity(arguments.count)}
        print(result, flush=True)
        result["strengths"] = benchmark.strengths(min(48, arguments.count), arguments.out)
        print(result["strengths"], flush=True)
        result["leak"] = benchmark.leak(min(32, arguments.count), 0.6)
        print(result["leak"], flush=True)
        result["swap"] = benchmark.swaps(arguments.count, arguments.out)
    write(result, arguments.out)


if __name__ == "__main__":
    main()
