"""Does mixing work? Content of one image in the style of others, with bounds beside each score, as JSON.

python benchmarks/swap.py runs/emoji emoji128.zip --out swap.json

identity   one image as colours, structure and texture, against its plain reconstruction
swap       held-out things drawn by one collection in the style of another, against the other's own drawing, by strength
strengths  11 strengths of `stylize`: style must come nearer to the references, structure must be given up
leak       references of stripes and checks must not paste their geometry into other images
"""

from pathlib import Path

import numpy as np
import torch
from impasto.create.paint import paint
from scipy.stats import spearmanr

from common import options, write
from impasto import api
from impasto.backbone import channel_statistics, feature_distance
from impasto.config import STYLIZE_SAMPLING, Sampling
from impasto.create.stylize import stylize
from impasto.data import evenly_spaced, prepare
from impasto.evaluate import style as look
from impasto.evaluate.evaluator import COLUMNS, Evaluator, sheet_of
from impasto.evaluate.swap import held_out_pairs, swap
from impasto.model.blocks import Map
from impasto.model.gaussian import Gaussian
from stylization import Eye, by_impasto, structure_kept, styles_of

SWAPPED_AT = (0.2, 0.4, 0.5, 0.6, 0.8, 1.0)
"""Strengths."""
STRENGTHS = tuple(np.linspace(0, 1, 11).round(1).tolist())


class Bench:
    """A model, the evaluator, and what both know of the collections."""

    def __init__(self, model: api.Pipeline, source: Path, cache: Path, max_side: int | None) -> None:
        self.model = model
        network = model.network
        images = prepare(source, resolution=network.config.resolution, cache=cache)
        self.evaluator = Evaluator(images, self.model.device, 0, max_side=most, cache=cache)
        self.styles = styles_of(model, images)
        self.eye = Eye(self.evaluator)
        self.collections = torch.from_numpy(images.collection_ids[self.evaluator.train_indices])
        self.probe = look.Probe(self.evaluator.train.statistics, self.collections)

    def identity(self, count: int) -> dict[str, float]:
        """Feature distances to the image itself."""
        image = self.evaluator.batch(evenly_spaced(self.evaluator.images.held_out, count))
        network = self.model.network
        posterior = network.autoencoder.posterior(image)
        fused = paint(network, posterior, range(len(image)), Sampling(guidance=1, internal_guidance=1, temperature=0))
        maps = self.evaluator.backbone(image)
        ours, plain = (
            float(feature_distance(self.evaluator.backbone(made), maps).mean())
            for made in (fused, network.autoencoder.reconstruct(image))
        )
        return {"fused from itself": ours, "reconstructed": plain, "ratio": ours / plain}

    def swaps(self, count: int, out: Path | None) -> dict[str, dict[str, float]]:
        """Distances to the other collection's own drawing, and whose the probe says it is, by strength."""
        evaluator = self.evaluator
        pairs = held_out_pairs(evaluator.images, count, 0)
        wanted = torch.from_numpy(evaluator.images.collection_ids[pairs.target])
        result = {}
        for strength in SWAPPED_AT:
            stylized = by_impasto(self.model, self.styles, strength)
            found = swap(evaluator, pairs, stylized, self.model.network.autoencoder.reconstruct)
            statistics = [channel_statistics(evaluator.backbone(part)).cpu() for part in found.images.split(32)]
            redrawn_mean, copied = float(found.stylized.mean()), float(found.copied.mean())
            result[f"strength {strength:g}"] = {
                "stylized": redrawn_mean,
                "of copying": redrawn_mean / copied,
                "copied": copied,
                "nearest other drawing": float(found.other.mean()),
                "own drawing reconstructed": float(found.reconstructed.mean()),
                "probe accuracy": float((self.probe(torch.cat(statistics)) == wanted).double().mean()),
            }
            print(strength, result[f"strength {strength:g}"], flush=True)
            if out:
                some = np.linspace(0, len(pairs.content) - 1, min(COLUMNS, len(pairs.content))).astype(int)
                rows = [evaluator.batch(pairs.content[some]), found.images[some], evaluator.batch(pairs.target[some])]
                sheet = sheet_of(rows, ["content", f"stylized, strength {strength:g}", "own drawing"])
                sheet.save(out.with_suffix(f".strength{strength:g}.png"))
        return result

    def strengths(self, count: int, out: Path | None) -> dict[str, object]:
        """Distance of the look to the references' and structure kept, over strengths of `stylize`."""
        evaluator = self.evaluator
        content = evaluator.batch(evenly_spaced(evaluator.images.held_out, count))
        ids = evaluator.images.collection_ids[evenly_spaced(evaluator.images.held_out, count)]
        others = torch.from_numpy((ids + 1) % len(evaluator.images.collections))
        goals = torch.stack([self.eye.train[self.collections == other].mean(0) for other in others.tolist()])
        distances, kept, rows = [], [], [content[:COLUMNS]]
        for strength in STRENGTHS:
            decoded = self._stylized(content, self.styles[others], strength)
            distances.append(float((self.eye(decoded) - goals).norm(dim=1).mean()))
            kept.append(float(structure_kept(decoded, content).mean()))
            rows.append(decoded[:COLUMNS])
        if out:
            labels = ["content", *(f"strength {s:g}" for s in STRENGTHS)]
            sheet_of(rows, labels).save(out.with_suffix(".strengths.png"))
        return {
            "strengths": STRENGTHS,
            "distance of the look": distances,
            "structure kept": kept,
            "spearman of the look": float(spearmanr(STRENGTHS, distances).statistic),
            "spearman of the structure": float(spearmanr(STRENGTHS, kept).statistic),
        }

    def leak(self, count: int, strength: float) -> dict[str, float]:
        """Cosine of the edges of stylized images with those of their reference, and with those of another one."""
        content = self.evaluator.batch(evenly_spaced(self.evaluator.images.held_out, count))
        references = geometry(content.shape[1], content.shape[2]).to(content.device)
        styles = self.model.network.autoencoder.posterior(references)[0]
        own, other = [], []
        for index in range(len(references)):
            style = styles[torch.full((len(content),), index)]
            decoded = self._stylized(content, style, strength)
            for second in range(len(references)):
                score = structure_kept(decoded, references[second].expand_as(decoded))
                (own if index == second else other).append(score)
        return {"own reference": float(torch.cat(own).mean()), "another reference": float(torch.cat(other).mean())}

    def _stylized(self, content: Map, style: Gaussian, strength: float) -> Map:
        seeds = range(len(content))
        return stylize(self.model.network, content, style, strength=strength, seeds=seeds, settings=STYLIZE_SAMPLING)


def geometry(channels: int, side: int) -> Map:
    """Upright stripes, level stripes and checks in dark blue on white."""
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
    parser.add_argument("--real", type=int, help="training images that the evaluator features at (default: all)")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    model = api.load(arguments.run, arguments.device)
    with model.cache() as cache:
        bench = Bench(model, arguments.images, cache, arguments.real)
        result: dict[str, object] = {"identity": bench.identity(arguments.count)}
        print(result, flush=True)
        result["strengths"] = bench.strengths(min(48, arguments.count), arguments.out)
        print(result["strengths"], flush=True)
        result["leak"] = bench.leak(min(32, arguments.count), 0.6)
        print(result["leak"], flush=True)
        result["swap"] = bench.swaps(arguments.count, arguments.out)
    write(result, arguments.out)


if __name__ == "__main__":
    main()
