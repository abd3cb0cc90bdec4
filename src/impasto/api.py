"""The public interface: `impasto.train`, `impasto.load`, and all that a model can do."""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from impasto.built_in import model_name, resolve_model
from impasto.config import (
    MAX_SIDE,
    EvaluateConfig,
    Fit,
    FuseConfig,
    GenerateConfig,
    ImageConfig,
    ModelConfig,
    StylizeConfig,
    TrainConfig,
)
from impasto.create.clip import Clip, is_clip
from impasto.create.fuse import Fuser, Source
from impasto.create.generate import generate
from impasto.create.image import to_image
from impasto.create.palette import check_pixel_art, finished, resolved
from impasto.create.recipe import DTYPES, Recipe
from impasto.create.style import parse_reference, pooled_style, with_weight
from impasto.create.style_file import save_style
from impasto.create.stylize import Stylizer
from impasto.create.stylize_clip import StylizedClip, Watch, stylize_clip
from impasto.create.vectors import Latents
from impasto.data import Loaded, WholeImages, prepare, read_images
from impasto.errors import ImpastoError
from impasto.events import Listener, Warned
from impasto.model.autoencoder import modes
from impasto.model.blocks import to_images
from impasto.model.decoder import latent_shapes
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto, fingerprint_of, load_model
from impasto.model.levels import LEVEL_NAMES, Levels
from impasto.model.views import VIEW_NAMES
from impasto.text import TextEncoder, TextVectors
from impasto.training.engine import choose_device, choose_dtype
from impasto.training.loop import train as _train
from impasto.training.run import Run, model_file, read_config

if TYPE_CHECKING:
    from impasto.evaluate.evaluate import Report

IMAGES_AT_A_TIME = 8


@dataclass(frozen=True)
class Generated:
    """A new image, and the recipe that makes it again."""

    image: Image.Image
    recipe: Recipe


@dataclass(frozen=True)
class Reconstruction:
    """An image as the model was given it, and decoded from coarse prefixes of its levels."""

    name: str
    original: Image.Image
    prefixes: tuple[Image.Image, ...]
    """Coarse to fine; the last is decoded from all levels."""


@dataclass(frozen=True)
class Likeness:
    """A sentence or the name of an image, and how well it fits: the cosine of text vectors."""

    name: str
    cosine: float


class Pipeline:
    """A trained model, ready to make images."""

    def __init__(
        self,
        network: Impasto,
        styles: Gaussian | None,
        path: Path,
        fingerprint: str,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.network = network
        self.network.prior.dtype = dtype
        self._text_encoder: TextEncoder | None = None
        self.styles = styles
        self.path = path
        """The run folder or model file it was loaded from."""
        self.name = model_name(path)
        """What recipes call it: the path, or the name of a built-in model."""
        self.fingerprint = fingerprint
        """The first 16 hexadecimal digits of the SHA-256 of its weights file."""

    @property
    def config(self) -> ModelConfig:
        """Its shape, resolution and collections."""
        return self.network.config

    @property
    def dtype(self) -> str:
        """Floating-point format of the flow: float32, or bfloat16 if the device computes faster in it."""
        return str(self.network.prior.dtype).removeprefix("torch.")

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.parameters()).device

    def generate(
        self,
        count: int = 16,
        config: GenerateConfig | None = None,
        *,
        start: int = 0,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Iterator[Generated]:
        """Yield images number ``start`` to ``start + count`` of a seed; each is the same however many are made.

        ``on_step`` is told (steps done, steps) over all images. Raises ImpastoError for unknown styles and unusable
        palettes, and for images smaller than the model's own.
        """
        config = config or GenerateConfig()
        size = (config.height or self.config.resolution, config.width or self.config.resolution)
        if min(size) < self.config.resolution:
            raise ImpastoError(f"{min(size)} px: this model makes images from {self.config.resolution} px up.")
        check_pixel_art(config.output.pixel_art, *size)
        output, colours = resolved(config.output)
        told, sources = self._style(config.style)
        text, away = self._text(config)
        settings = dataclasses.replace(config, output=output)
        indices = range(start, start + count)
        arrays = generate(
            self.network,
            told,
            indices,
            config.sampling,
            size=size,
            repeat=output.tile,
            text=text,
            negative_text=away,
            on_step=on_step,
        )
        recipe = Recipe(self.name, self.fingerprint, settings, dtype=self.dtype, sources=sources)
        for index, array in zip(indices, arrays, strict=True):
            image = finished(to_image(array), output, colours)
            yield Generated(image, dataclasses.replace(recipe, index=index))

    def save_style(self, style: Sequence[str], path: Path) -> None:
        """Pool styles as `generate` takes them, and write the result to a .style file that it takes too.

        Raises ImpastoError for unknown styles and for another suffix.
        """
        told, _ = self._style(style)
        if told is None:
            raise ImpastoError("STYLE is missing: name collections of the model, or images.")
        save_style(path, told, fingerprint=self.fingerprint, sources=tuple(style))

    def stylizer(self, config: StylizeConfig) -> Stylizer:
        """What stylizes images one after the other, with the settings ``config``.

        Raises ImpastoError for unknown styles, and for settings that do nothing with this model.
        """
        config.check_style()
        config.check_model(self.config)
        told, sources = self._style(config.style)
        assert told is not None
        recipe = Recipe(self.name, self.fingerprint, config, dtype=self.dtype, sources=sources)
        return Stylizer(self.network, told, recipe, *self._text(config))

    def stylize(self, images: Path, config: StylizeConfig) -> Iterator[Generated]:
        """Yield the images of a file, a folder or an archive, stylized in a style, each at its own size.

        Raises ImpastoError where there are none, for unknown styles, and for images that cannot be stylized as asked.
        """
        config.check_clip(str(images), is_clip(images))
        stylized = self.stylizer(config)
        for image in self.whole_images(images, config.max_side):
            yield Generated(stylized(image), stylized.recipe(image))

    def stylize_clip(
        self,
        clip: Path,
        target: Path,
        config: StylizeConfig,
        *,
        watch: Watch = lambda frames, count: frames,
    ) -> StylizedClip:
        """Stylize a clip into ``target`` (.webm, .mp4 or .webp), steady over time and with its sound.

        Stopped, the same call goes on. Needs the extra ``video``; see `impasto.create.stylize_clip`.
        """
        opened = Clip(clip, max_side=config.max_side, channels=self.config.channels)
        return stylize_clip(self.stylizer(config), opened, target, watch=watch)

    def fuse(
        self,
        config: FuseConfig,
        count: int = 1,
        *,
        start: int = 0,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Iterator[Generated]:
        """Yield variations ``start`` to ``start + count`` of one image of several, see `impasto.create.fuse`.

        Raises ImpastoError for images that cannot be read, unusable weights, and sizes that do not allow what is
        asked.
        """
        config.check_sources()
        sources = {
            name: [source for text in getattr(config, name) for source in self._sources(text, config.max_side)]
            for name in VIEW_NAMES
        }
        style, style_sources = self._style(config.style)
        fuser = Fuser(self.network, sources, config, style, *self._text(config))
        settings = dataclasses.replace(config, output=fuser.output)
        hashes = {s.image.path: s.image.content_hash for found in sources.values() for s in found} | style_sources
        recipe = Recipe(self.name, self.fingerprint, settings, dtype=self.dtype, sources=hashes)
        for index in range(start, start + count):
            yield Generated(fuser(index, on_step), dataclasses.replace(recipe, index=index))

    def _sources(self, text: str, max_side: int) -> list[Source]:
        """The image, or the images of a folder or archive, which share the weight."""
        path, weight = with_weight(text)
        found = list(self.whole_images(Path(path), max_side))
        if not found:
            raise ImpastoError(f"there is no readable image in {path}.")
        return [Source(image, weight / len(found)) for image in found]

    def again(self, recipe: Recipe) -> Generated:
        """The identical image that ``recipe`` was written for, whichever job made it.

        Raises ImpastoError for a recipe of another model, and where a file that it names is not there or has changed.
        """
        if recipe.fingerprint != self.fingerprint:
            raise ImpastoError(
                f"made by another model: its recipe names weights {recipe.fingerprint}, and {self.path} has "
                f"{self.fingerprint}."
            )
        before, self.network.prior.dtype = self.network.prior.dtype, getattr(torch, recipe.dtype)
        try:
            made = self._made_again(recipe)
        finally:
            self.network.prior.dtype = before
        if changed := [name for name, digest in recipe.sources.items() if made.recipe.sources.get(name) != digest]:
            raise ImpastoError(f"{', '.join(changed)} has changed since the image was made.")
        return made

    def _made_again(self, recipe: Recipe) -> Generated:
        settings = recipe.settings
        if isinstance(settings, GenerateConfig):
            return next(self.generate(1, settings, start=recipe.index))
        if isinstance(settings, FuseConfig):
            return next(self.fuse(settings, start=recipe.index))
        assert isinstance(settings, StylizeConfig)
        if recipe.content is None or is_clip(Path(recipe.content)):
            raise ImpastoError(f"it comes from the clip {recipe.content}: make that again with impasto stylize.")
        return next(self.stylize(Path(recipe.content), settings.without_idle(self.config)))

    def whole_images(self, path: Path, max_side: int = MAX_SIDE) -> WholeImages:
        """The images of a file, folder or archive at their own sizes, with this model's channels."""
        return WholeImages(path, max_side=max_side, channels=self.config.channels)

    def _style(self, style: Sequence[str]) -> tuple[Gaussian | None, dict[str, str]]:
        references = [parse_reference(text, self.config.collections) for text in style]
        return pooled_style(self.network, self.styles, references, self.fingerprint)

    def _text(self, config: ImageConfig) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """The vectors of the text and the negative text, (1, text_dim), None without one."""
        if config.prompt.text is None:
            return None, None
        self._check_captions()
        text, away = (
            self._encoder()([sentence]).to(self.device) if sentence is not None else None
            for sentence in (config.prompt.text, config.prompt.negative_text)
        )
        return text, away

    def _check_captions(self) -> None:
        """Refuse where the model knows no text."""
        if not self.config.text_dim:
            raise ImpastoError(f"{self.path} has learned no captions; train with --text on a captioned folder.")

    def read(self, images: Sequence[Path], listeners: Sequence[Listener] = ()) -> Loaded:
        """Read files, folders and archives at the model's resolution and with its channels.

        What lies in a folder and cannot be read is skipped, and told to ``listeners`` with its reason. Raises
        ImpastoError for a file given by name that cannot be read, and where nothing can.
        """
        loaded = read_images(list(images), resolution=self.config.resolution, channels=self.config.channels)
        for name, reason in loaded.skipped.items():
            for listener in listeners:
                listener(Warned(f"skipped {name}: {reason}"))
        return loaded

    @torch.no_grad()
    def reconstruct(self, images: Loaded | Sequence[Path], levels: bool = False) -> Iterator[Reconstruction]:
        """Encode images and paint them again; with ``levels`` from every coarse prefix of levels."""
        loaded = images if isinstance(images, Loaded) else self.read(images)
        autoencoder = self.network.autoencoder
        for names, pixels in _batches(loaded):
            posterior = autoencoder.posterior(to_images(pixels, self.device))
            prefixes = autoencoder.prefixes(posterior) if levels else [autoencoder.decode(modes(posterior))]
            decoded = [prefix.cpu().numpy() for prefix in prefixes]
            for row, name in enumerate(names):
                outputs = tuple(to_image(prefix[row]) for prefix in decoded)
                yield Reconstruction(name, to_image(pixels[row]), outputs)

    @torch.no_grad()
    def encode(self, images: Loaded | Sequence[Path]) -> Latents:
        """The posterior means of images at every level, style first."""
        loaded = images if isinstance(images, Loaded) else self.read(images)
        batches: list[list[np.ndarray]] = [[] for _ in LEVEL_NAMES]
        for _, pixels in _batches(loaded):
            latents = modes(self.network.autoencoder.posterior(to_images(pixels, self.device)))
            for parts, values in zip(batches, latents, strict=True):
                parts.append(values.cpu().numpy())
        levels = {name: np.concatenate(parts) for name, parts in zip(LEVEL_NAMES, batches, strict=True)}
        return Latents(loaded.names, levels, self.fingerprint)

    @torch.no_grad()
    def text_vectors(self, images: Loaded | Sequence[Path]) -> tuple[tuple[str, ...], TextVectors]:
        """Names, and for each image the vector, of unit length, of a sentence that would say what it shows.

        Raises ImpastoError where the model has learned no captions.
        """
        self._check_captions()
        predictor = self.network.caption_predictor
        assert predictor is not None
        loaded = images if isinstance(images, Loaded) else self.read(images)
        found = []
        for _, pixels in _batches(loaded):
            found.append(predictor(modes(self.network.autoencoder.posterior(to_images(pixels, self.device)))).cpu())
        return loaded.names, torch.cat(found)

    def caption(
        self, images: Loaded | Sequence[Path], vocabulary: Sequence[str] = (), top: int = 3
    ) -> Iterator[tuple[str, list[Likeness]]]:
        """Yield each image's name and the sentences of ``vocabulary`` that say best what it shows, best first.

        Without a vocabulary the captions of the training images are used.
        """
        names, vectors = self.text_vectors(images)
        sentences = list(vocabulary) or self._known_captions()
        likeness = vectors @ self._encoder()(sentences).T
        for name, row in zip(names, likeness, strict=True):
            best = row.topk(min(top, len(sentences)))
            yield (
                name,
                [Likeness(sentences[i], v) for v, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)],
            )

    def search(self, images: Loaded | Sequence[Path], text: str) -> list[Likeness]:
        """The names of the images, those first that show most likely what ``text`` says."""
        names, vectors = self.text_vectors(images)
        likeness = vectors @ self._encoder()([text])[0]
        return [Likeness(names[i], float(likeness[i])) for i in likeness.argsort(descending=True).tolist()]

    def _known_captions(self) -> list[str]:
        file = Run(self.path).captions
        if not file.exists():
            raise ImpastoError(f"{self.path} does not hold the captions of its training: give a --vocabulary.")
        return file.read_text(encoding="utf-8").splitlines()

    def _encoder(self) -> TextEncoder:
        self._text_encoder = self._text_encoder or TextEncoder()
        return self._text_encoder

    @torch.no_grad()
    def decode(self, latents: Latents) -> Iterator[tuple[str, Image.Image]]:
        """Paint latents; yields (name, image). Raises ImpastoError where they do not fit this model."""
        for name, shape in zip(LEVEL_NAMES, latent_shapes(self.config), strict=True):
            if name not in latents.levels:
                raise ImpastoError(f"the latents have no level {name!r}; this model needs {', '.join(LEVEL_NAMES)}.")
            if latents.levels[name].shape[1:] != shape:
                found = latents.levels[name].shape[1:]
                raise ImpastoError(f"level {name} is {found} for each image; this model needs {shape}.")
        for start in range(0, len(latents.names), IMAGES_AT_A_TIME):
            part = slice(start, start + IMAGES_AT_A_TIME)
            values = Levels.of(torch.from_numpy(latents.levels[name][part]).to(self.device) for name in LEVEL_NAMES)
            decoded = self.network.autoencoder.decode(values).cpu().numpy()
            yield from zip(latents.names[part], map(to_image, decoded), strict=True)

    def evaluate(
        self,
        images: Path,
        config: EvaluateConfig | None = None,
        *,
        fit: Fit | None = None,
        features: Path | None = None,
        progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> "Report":
        """Measure this model on the folder or archive that it was trained on; see `impasto.evaluate.evaluate`.

        ``fit`` is how images become square, as in training where not given; ``features`` an ONNX network on whose
        features distances are measured too, see `impasto.evaluate.onnx_features`. Raises ImpastoError where the images
        do not fit the model, and where the extra for measuring is not installed.
        """
        from impasto.evaluate.evaluate import evaluate
        from impasto.evaluate.onnx_features import OnnxFeatures

        if self.styles is None:
            raise ImpastoError(f"{self.path}: the model has no collections to make samples of.")
        network = OnnxFeatures(features) if features is not None else None
        with self.cache() as cache:
            trained = self._trained()
            found = prepare(
                images,
                resolution=self.config.resolution,
                fit=fit or (trained.fit if trained else Fit.AUTO),
                zoom=trained.zoom if trained else 1.0,
                cache=cache,
            )
            return evaluate(self.network, self.styles, found, config, network=network, cache=cache, progress=progress)

    @contextmanager
    def cache(self) -> Iterator[Path]:
        """The run's folder for what need not be made twice; a passing one where the model is not in a run."""
        cache = Run(self.path).cache
        if cache.is_dir() and os.access(cache, os.W_OK):
            yield cache
            return
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)

    def _trained(self) -> TrainConfig | None:
        """The settings of its training, where they lie beside it."""
        file = Run(self.path).config
        return read_config(file) if file.exists() else None


def load(run: Path | str, device: str = "auto", dtype: str = "auto") -> Pipeline:
    """Load a model from a run folder, a .safetensors file or by a built-in name; nothing in it is executed.

    ``dtype`` is the floating-point format of the flow: float32, bfloat16, or auto for the faster one. Raises
    ImpastoError when there is no model, or it cannot be read.
    """
    path = resolve_model(Path(run))
    file = model_file(path)
    network, styles = load_model(file)
    if dtype not in ("auto", *DTYPES):
        raise ImpastoError(f"dtype {dtype}: use one of auto, {', '.join(DTYPES)}.")
    name, _ = choose_device(device)
    chosen = choose_dtype(torch.device(name))[0] if dtype == "auto" else getattr(torch, dtype)
    return Pipeline(network.to(name), styles, path, fingerprint_of(file), chosen)


def train(
    config: TrainConfig, listeners: Sequence[Listener] = (), cancel: Callable[[], bool] = lambda: False
) -> Pipeline:
    """Train a model, or resume training; ``cancel`` is asked once a step. Returns the model as saved.

    Raises ImpastoError when images or folders are not usable.
    """
    run = _train(config, listeners, cancel)
    return load(run.folder, config.device)


def _batches(loaded: Loaded) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    for start in range(0, len(loaded.names), IMAGES_AT_A_TIME):
        part = slice(start, start + IMAGES_AT_A_TIME)
        yield loaded.names[part], loaded.pixels[part]
