"""The public interface: `impasto.train`, `impasto.load`, and all that a model can do."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from impasto.config import (
    MAX_SIDE,
    EvaluateConfig,
    Fit,
    ModelConfig,
    Repeat,
    StylizeConfig,
    TrainConfig,
    check_sampling,
    check_size,
    from_json,
)
from impasto.create.clip import Clip
from impasto.create.generate import generate
from impasto.create.palette import finished, read_palette
from impasto.create.picture import to_image
from impasto.create.recipe import Recipe
from impasto.create.style import parse_reference, pooled_style
from impasto.create.style_file import save_style
from impasto.create.stylize import Stylizer
from impasto.create.stylize_clip import Redrawn, Watch, stylize_clip
from impasto.create.vectors import Latents
from impasto.data import Loaded, WholePictures, prepare, read_pictures
from impasto.errors import ImpastoError
from impasto.events import Listener, Warned
from impasto.model.autoencoder import LEVEL_NAMES, NUM_LEVELS
from impasto.model.decoder import latent_shapes
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto, identity_of, load_model
from impasto.training.engine import choose_device
from impasto.training.loop import train as _train
from impasto.training.run import Run

if TYPE_CHECKING:
    from impasto.evaluate.evaluate import Report

PICTURES_AT_A_TIME = 8


@dataclass(frozen=True)
class Generated:
    """A new picture, and the recipe that makes it again."""

    image: Image.Image
    recipe: Recipe


@dataclass(frozen=True)
class Reconstruction:
    """A picture as the model was given it, and painted from coarse prefixes of its levels."""

    name: str
    original: Image.Image
    prefixes: tuple[Image.Image, ...]
    """Coarse to fine; the last is painted from all levels."""


class Model:
    """A trained model, ready to make pictures."""

    def __init__(self, network: Impasto, styles: torch.Tensor | None, path: Path, identity: str) -> None:
        self.network = network
        self.styles = styles
        self.path = path
        """The run folder or model file it was loaded from."""
        self.identity = identity
        """The first 16 hexadecimal digits of the SHA-256 of its weights file."""

    @property
    def config(self) -> ModelConfig:
        """Its shape, resolution and collections."""
        return self.network.config

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.parameters()).device

    def generate(
        self,
        count: int = 16,
        *,
        style: Sequence[str] = (),
        seed: int = 0,
        steps: int = 16,
        temperature: float = 1.0,
        guidance: float = 1.5,
        start: int = 0,
        size: tuple[int, int] | None = None,
        tile: Repeat = Repeat.NONE,
        palette: str | None = None,
        pixel_art: int | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Iterator[Generated]:
        """Yield pictures number ``start`` to ``start + count`` of ``seed``; each is the same however many are made.

        ``style`` names collections of the model or files, folders and archives of pictures, each with an optional
        ``":weight"``; without it every picture has a style of its own. ``guidance`` above 1 follows the style more
        closely; ``temperature`` below 1 is tamer. ``size`` is height and width in pixels, multiples of 32 from the
        model's resolution up; with ``tile``, copies of a picture meet without a seam. ``palette`` is a number of
        colours, or colours or a file as in `impasto.create.palette.read_palette`; ``pixel_art`` the number of true
        pixels along the longer side. Raises ImpastoError for values out of range and unknown styles.
        """
        check_sampling(seed, steps, temperature, guidance, prefix="--")
        check_size(size, prefix="--")
        if size is not None and min(size) < self.config.resolution:
            raise ImpastoError(f"{min(size)} px: this model makes pictures from {self.config.resolution} px up.")
        colours = read_palette(palette) if palette is not None else None
        longest = max(size or (self.config.resolution,))
        if pixel_art is not None and not 1 <= pixel_art <= longest:
            raise ImpastoError(f"--pixel-art {pixel_art}: use a whole number from 1 to {longest}, the longer side.")
        told, hashes = self._style(style)
        indices = range(start, start + count)
        arrays = generate(
            self.network,
            told,
            indices,
            seed=seed,
            steps=steps,
            temperature=temperature,
            guidance=guidance,
            size=size,
            repeat=tile,
            on_step=on_step,
        )
        for index, array in zip(indices, arrays, strict=True):
            recipe = Recipe(
                model=str(self.path),
                identity=self.identity,
                seed=seed,
                index=index,
                steps=steps,
                temperature=temperature,
                guidance=guidance,
                style=tuple(style),
                style_hashes=hashes if any(hashes) else (),
                size=size,
                tile=tile,
                palette=str(colours) if colours is not None else None,
                pixel_art=pixel_art,
            )
            yield Generated(finished(to_image(array), colours, pixel_art), recipe)

    def save_style(self, style: Sequence[str], path: Path) -> None:
        """Pool styles as `generate` takes them, and write the result to a .style file that it takes too.

        Raises ImpastoError for unknown styles and for another suffix.
        """
        told, _ = self._style(style)
        if told is None:
            raise ImpastoError("STYLE is missing: name collections of the model, or pictures.")
        save_style(path, told, identity=self.identity, sources=tuple(style))

    def stylizer(self, config: StylizeConfig) -> Stylizer:
        """What redraws pictures as ``config`` says, one after the other. Raises ImpastoError for unknown styles."""
        told, hashes = self._style(config.style)
        assert told is not None
        return Stylizer(self.network, told, hashes, config, str(self.path), self.identity)

    def stylize(self, pictures: Path, config: StylizeConfig) -> Iterator[Generated]:
        """Yield the pictures of a file, a folder or an archive, redrawn in a style, each at its own size.

        Raises ImpastoError where there are none, for unknown styles, and for pictures that cannot be redrawn as asked.
        """
        redrawn = self.stylizer(config)
        for picture in self.whole_pictures(pictures, config.most):
            yield Generated(redrawn(picture), redrawn.recipe(picture))

    def stylize_clip(
        self,
        clip: Path,
        target: Path,
        config: StylizeConfig,
        *,
        watch: Watch = lambda frames, count: frames,
    ) -> Redrawn:
        """Redraw a clip into ``target`` (.webm, .mp4 or .webp), steady over time and with its sound.

        Stopped, the same call goes on. Needs the extra ``video``; see `impasto.create.stylize_clip`.
        """
        opened = Clip(clip, most=config.most, channels=self.config.channels)
        return stylize_clip(self.stylizer(config), opened, target, watch=watch)

    def whole_pictures(self, path: Path, most: int = MAX_SIDE) -> WholePictures:
        """The pictures of a file, folder or archive at their own sizes, with this model's channels."""
        return WholePictures(path, most=most, channels=self.config.channels)

    def _style(self, style: Sequence[str]) -> tuple[Gaussian | None, tuple[str, ...]]:
        references = [parse_reference(text, self.config.collections) for text in style]
        return pooled_style(self.network, self.styles, references, self.identity)

    def read(self, pictures: Sequence[Path], listeners: Sequence[Listener] = ()) -> Loaded:
        """Read files, folders and archives at the model's resolution and with its channels.

        What lies in a folder and cannot be read is skipped, and told to ``listeners`` with its reason. Raises
        ImpastoError for a file given by name that cannot be read, and where nothing can.
        """
        loaded = read_pictures(list(pictures), resolution=self.config.resolution, channels=self.config.channels)
        for name, reason in loaded.skipped.items():
            for listener in listeners:
                listener(Warned(f"skipped {name}: {reason}"))
        return loaded

    @torch.no_grad()
    def reconstruct(self, pictures: Loaded | Sequence[Path], levels: bool = False) -> Iterator[Reconstruction]:
        """Encode pictures and paint them again; with ``levels`` from every coarse prefix of levels."""
        loaded = pictures if isinstance(pictures, Loaded) else self.read(pictures)
        prefixes = range(1, NUM_LEVELS + 1) if levels else [NUM_LEVELS]
        for names, pixels in _batches(loaded):
            picture = self._to_device(pixels)
            painted = [self.network.autoencoder.reconstruct(picture, n).cpu().numpy() for n in prefixes]
            for row, name in enumerate(names):
                images = tuple(to_image(prefix[row]) for prefix in painted)
                yield Reconstruction(name, to_image(pixels[row]), images)

    @torch.no_grad()
    def encode(self, pictures: Loaded | Sequence[Path]) -> Latents:
        """The posterior means of pictures at every level, style first."""
        loaded = pictures if isinstance(pictures, Loaded) else self.read(pictures)
        means: list[list[np.ndarray]] = [[] for _ in LEVEL_NAMES]
        for _, pixels in _batches(loaded):
            for level, gaussian in enumerate(self.network.autoencoder.posterior(self._to_device(pixels))):
                means[level].append(gaussian.mean.cpu().numpy())
        levels = {name: np.concatenate(parts) for name, parts in zip(LEVEL_NAMES, means, strict=True)}
        return Latents(loaded.names, levels, self.identity)

    @torch.no_grad()
    def decode(self, latents: Latents) -> Iterator[tuple[str, Image.Image]]:
        """Paint latents; yields (name, picture). Raises ImpastoError where they do not fit this model."""
        for name, shape in zip(LEVEL_NAMES, latent_shapes(self.config), strict=True):
            if name not in latents.levels:
                raise ImpastoError(f"the latents have no level {name!r}; this model needs {', '.join(LEVEL_NAMES)}.")
            if latents.levels[name].shape[1:] != shape:
                found = latents.levels[name].shape[1:]
                raise ImpastoError(f"level {name} is {found} for each picture; this model needs {shape}.")
        for start in range(0, len(latents.names), PICTURES_AT_A_TIME):
            part = slice(start, start + PICTURES_AT_A_TIME)
            style, coarse, middle, fine = (
                torch.from_numpy(latents.levels[name][part]).to(self.device) for name in LEVEL_NAMES
            )
            painted = self.network.autoencoder.decode((style, coarse, middle, fine)).cpu().numpy()
            yield from zip(latents.names[part], map(to_image, painted), strict=True)

    def evaluate(
        self,
        pictures: Path,
        config: EvaluateConfig | None = None,
        *,
        fit: Fit | None = None,
        features: Path | None = None,
        progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> "Report":
        """Measure this model on the folder or archive that it was trained on; see `impasto.evaluate.evaluate`.

        ``fit`` is how pictures become square, as in training where not given; ``features`` an ONNX network on whose
        features distances are measured too, see `impasto.evaluate.network`. Raises ImpastoError where the pictures
        do not fit the model, and where the extra for measuring is not installed.
        """
        from impasto.evaluate.evaluate import evaluate
        from impasto.evaluate.network import GivenNetwork

        if self.styles is None:
            raise ImpastoError(f"{self.path}: the model has no collections to make samples of.")
        network = GivenNetwork(features) if features is not None else None
        with tempfile.TemporaryDirectory() as folder:
            found = prepare(
                pictures,
                resolution=self.config.resolution,
                fit=fit or self._fit(),
                cache=Path(folder),
            )
            return evaluate(self.network, self.styles, found, config, network=network, progress=progress)

    def _fit(self) -> Fit:
        file = Run(self.path).config
        return from_json(TrainConfig, file.read_text(encoding="utf-8"), str(file)).fit if file.exists() else Fit.AUTO

    def _to_device(self, pixels: np.ndarray) -> torch.Tensor:
        picture = torch.from_numpy(pixels).to(self.device).float() / 255
        return picture.contiguous(memory_format=torch.channels_last)


def load(run: Path | str, device: str = "auto") -> Model:
    """Load a model from a run folder or a .safetensors file; nothing in it is executed.

    Raises ImpastoError when there is no model, or it cannot be read.
    """
    path = Path(run)
    if not path.exists():
        raise ImpastoError(f"{path}: there is no such run or model file.")
    file = Run(path).model if path.is_dir() else path
    if not file.exists():
        reason = "its training has not saved yet" if Run(path).config.exists() else "it has no model.safetensors"
        raise ImpastoError(f"{path} is not a trained run: {reason}.")
    network, styles = load_model(file)
    name, _ = choose_device(device)
    return Model(network.to(name), styles, path, identity_of(file))


def train(config: TrainConfig, listeners: Sequence[Listener] = (), cancel: Callable[[], bool] = lambda: False) -> Model:
    """Train a model, or resume training; ``cancel`` is asked once a step. Returns the model as saved.

    Raises ImpastoError when pictures or folders are not usable.
    """
    run = _train(config, listeners, cancel)
    return load(run.folder, config.device)


def _batches(loaded: Loaded) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    for start in range(0, len(loaded.names), PICTURES_AT_A_TIME):
        part = slice(start, start + PICTURES_AT_A_TIME)
        yield loaded.names[part], loaded.pixels[part]
