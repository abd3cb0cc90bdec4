"""The public interface: `impasto.train`, `impasto.load` and the methods of `Pipeline`."""

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
from impasto.create.palette import check_pixel_art, finish, resolve_palette
from impasto.create.recipe import Recipe
from impasto.create.style import parse_reference, pooled_style, split_weight
from impasto.create.style_file import save_style
from impasto.create.stylize import Stylizer
from impasto.create.stylize_clip import StylizedClip, Watch, stylize_clip
from impasto.create.vectors import Latents
from impasto.data import Loaded, WholeImages, prepare, read_images
from impasto.device import choose_device, choose_dtype
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
from impasto.training.loop import train as _train
from impasto.training.run import Run, model_file, read_config

if TYPE_CHECKING:
    from impasto.evaluate.evaluate import Report

BATCH_SIZE = 8
"""Images that are encoded or decoded at a time."""


@dataclass(frozen=True)
class Generated:
    """An image, and the recipe that reproduces it."""

    image: Image.Image
    recipe: Recipe


@dataclass(frozen=True)
class Reconstruction:
    """An input image, and images decoded from coarse prefixes of its levels."""

    name: str
    original: Image.Image
    prefixes: tuple[Image.Image, ...]
    """Coarse to fine; the last is decoded from all levels."""


@dataclass(frozen=True)
class Similarity:
    """A sentence or the name of an image, and the cosine similarity of its text vector."""

    name: str
    cosine: float


class Pipeline:
    """A trained model."""

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
        """The run folder or model file."""
        self.name = model_name(path)
        """The name in recipes: the path, or the name of a built-in model."""
        self.fingerprint = fingerprint
        """The first 16 hexadecimal digits of the SHA-256 of the model file."""

    @property
    def config(self) -> ModelConfig:
        """Shape, resolution and collections."""
        return self.network.config

    @property
    def dtype(self) -> str:
        """Floating-point format of the flow: float32 or bfloat16."""
        return str(self.network.prior.dtype).removeprefix("torch.")

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.network.parameters()).device

    def generate(
        self,
        count: int = 16,
        config: GenerateConfig | None = None,
        *,
        start: int = 0,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Iterator[Generated]:
        """Yield images ``start`` to ``start + count - 1`` of a seed. Image n is the same for every start and count.

        ``on_step`` is called with (steps done, steps) over all images. Raises ImpastoError for unknown styles, palettes
        that are not usable, and sizes below the model's resolution.
        """
        config = config or GenerateConfig()
        size = (config.height or self.config.resolution, config.width or self.config.resolution)
        if min(size) < self.config.resolution:
            raise ImpastoError(f"{min(size)} px is too small: this model needs at least {self.config.resolution} px.")
        check_pixel_art(config.output.pixel_art, *size)
        output, palette = resolve_palette(config.output)
        style, sources = self._style(config.style)
        text, negative_text = self._text(config)
        settings = dataclasses.replace(config, output=output)
        indices = range(start, start + count)
        arrays = generate(
            self.network,
            style,
            indices,
            config.sampling,
            size=size,
            repeat=output.tile,
            text=text,
            negative_text=negative_text,
            on_step=on_step,
        )
        recipe = Recipe(self.name, self.fingerprint, settings, dtype=self.dtype, sources=sources)
        for index, array in zip(indices, arrays, strict=True):
            image = finish(to_image(array), output, palette)
            yield Generated(image, dataclasses.replace(recipe, index=index))

    def save_style(self, style: Sequence[str], path: Path) -> None:
        """Pool style references, and write the result to a .style file, which is a reference too.

        Raises ImpastoError for unknown styles and another suffix.
        """
        pooled, _ = self._style(style)
        if pooled is None:
            raise ImpastoError("STYLE is missing: name collections of the model, or images.")
        save_style(path, pooled, fingerprint=self.fingerprint, sources=tuple(style))

    def stylizer(self, config: StylizeConfig) -> Stylizer:
        """A stylizer for any number of images with the settings ``config``.

        Raises ImpastoError for unknown styles, and for settings that have no effect with this model.
        """
        config.check_style()
        config.check_model(self.config)
        style, sources = self._style(config.style)
        assert style is not None
        recipe = Recipe(self.name, self.fingerprint, config, dtype=self.dtype, sources=sources)
        return Stylizer(self.network, style, recipe, *self._text(config))

    def stylize(self, images: Path, config: StylizeConfig) -> Iterator[Generated]:
        """Stylize the images of a file, a folder or an archive, each at its own size.

        Raises ImpastoError if there are none, for unknown styles, and for images whose size does not fit the settings.
        """
        config.check_clip(str(images), is_clip(images))
        stylizer = self.stylizer(config)
        for image in self.whole_images(images, config.max_side):
            yield Generated(stylizer(image), stylizer.recipe(image))

    def stylize_clip(
        self,
        clip: Path,
        target: Path,
        config: StylizeConfig,
        *,
        watch: Watch = lambda frames, count: frames,
    ) -> StylizedClip:
        """Stylize a clip with temporal smoothing, and write it with its sound to ``target`` (.webm, .mp4 or .webp).

        After an interruption the same call resumes. Needs the extra ``video``; see `impasto.create.stylize_clip`.
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
        """Yield variations ``start`` to ``start + count - 1`` of a fusion, see `impasto.create.fuse`.

        Raises ImpastoError for images that cannot be read, weights that are not usable, and sizes that do not fit the
        settings.
        """
        config.check_sources()
        sources = {
            name: [source for text in getattr(config, name) for source in self._sources(text, config.max_side)]
            for name in VIEW_NAMES
        }
        style, style_sources = self._style(config.style)
        fuser = Fuser(self.network, sources, config, style, *self._text(config))
        settings = dataclasses.replace(config, output=fuser.output)
        hashes = {s.image.path: s.image.content_hash for group in sources.values() for s in group} | style_sources
        recipe = Recipe(self.name, self.fingerprint, settings, dtype=self.dtype, sources=hashes)
        for index in range(start, start + count):
            yield Generated(fuser(index, on_step), dataclasses.replace(recipe, index=index))

    def _sources(self, text: str, max_side: int) -> list[Source]:
        """The image of a file, or the images of a folder or archive, which share the weight."""
        path, weight = split_weight(text)
        images = list(self.whole_images(Path(path), max_side))
        if not images:
            raise ImpastoError(f"there is no readable image in {path}.")
        return [Source(image, weight / len(images)) for image in images]

    def again(self, recipe: Recipe) -> Generated:
        """Reproduce the image that ``recipe`` belongs to.

        Raises ImpastoError for a recipe of another model, and if a file that it names is missing or has changed.
        """
        if recipe.fingerprint != self.fingerprint:
            raise ImpastoError(
                f"it belongs to another model: its recipe names the fingerprint {recipe.fingerprint}, and {self.path} "
                f"has {self.fingerprint}."
            )
        dtype, self.network.prior.dtype = self.network.prior.dtype, getattr(torch, recipe.dtype)
        try:
            replayed = self._replay(recipe)
        finally:
            self.network.prior.dtype = dtype
        if changed := [name for name, digest in recipe.sources.items() if replayed.recipe.sources.get(name) != digest]:
            raise ImpastoError(f"{', '.join(changed)} has changed since the image was written.")
        return replayed

    def _replay(self, recipe: Recipe) -> Generated:
        settings = recipe.settings
        if isinstance(settings, GenerateConfig):
            return next(self.generate(1, settings, start=recipe.index))
        if isinstance(settings, FuseConfig):
            return next(self.fuse(settings, start=recipe.index))
        assert isinstance(settings, StylizeConfig)
        if recipe.content is None or is_clip(Path(recipe.content)):
            raise ImpastoError(f"it belongs to the clip {recipe.content}: stylize that again with impasto stylize.")
        return next(self.stylize(Path(recipe.content), settings.without_unused(self.config)))

    def whole_images(self, path: Path, max_side: int = MAX_SIDE) -> WholeImages:
        """The images of a file, folder or archive at their own sizes, with the channels of this model."""
        return WholeImages(path, max_side=max_side, channels=self.config.channels)

    def _style(self, style: Sequence[str]) -> tuple[Gaussian | None, dict[str, str]]:
        references = [parse_reference(text, self.config.collections) for text in style]
        return pooled_style(self.network, self.styles, references, self.fingerprint)

    def _text(self, config: ImageConfig) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """The vectors of the text and the negative text, (1, text_dim); None if there is none."""
        if config.prompt.text is None:
            return None, None
        self._check_captions()
        text, negative_text = (
            self._encoder()([sentence]).to(self.device) if sentence is not None else None
            for sentence in (config.prompt.text, config.prompt.negative_text)
        )
        return text, negative_text

    def _check_captions(self) -> None:
        """Raise ImpastoError if the model was trained without captions."""
        if not self.config.text_dim:
            raise ImpastoError(
                f"{self.path} was trained without captions: train a model with --text on images with captions."
            )

    def read(self, images: Sequence[Path], listeners: Sequence[Listener] = ()) -> Loaded:
        """Read files, folders and archives at the model's resolution and with its channels.

        Files in a folder that cannot be read are skipped; ``listeners`` get a warning with the reason. Raises
        ImpastoError for a file named in ``images`` that cannot be read, and if no image can be read.
        """
        loaded = read_images(list(images), resolution=self.config.resolution, channels=self.config.channels)
        for name, reason in loaded.skipped.items():
            for listener in listeners:
                listener(Warned(f"skipped {name}: {reason}"))
        return loaded

    @torch.no_grad()
    def reconstruct(self, images: Loaded | Sequence[Path], levels: bool = False) -> Iterator[Reconstruction]:
        """Encode and decode images; with ``levels`` also from every coarse prefix of the levels."""
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
        """The modes of the posterior of images at every level, style first."""
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
        """The names of images, and for each image the predicted text vector, of unit length.

        Raises ImpastoError if the model was trained without captions.
        """
        self._check_captions()
        predictor = self.network.caption_predictor
        assert predictor is not None
        loaded = images if isinstance(images, Loaded) else self.read(images)
        vectors = []
        for _, pixels in _batches(loaded):
            vectors.append(predictor(modes(self.network.autoencoder.posterior(to_images(pixels, self.device)))).cpu())
        return loaded.names, torch.cat(vectors)

    def caption(
        self, images: Loaded | Sequence[Path], vocabulary: Sequence[str] = (), top: int = 3
    ) -> Iterator[tuple[str, list[Similarity]]]:
        """Yield the name of each image, and the ``top`` sentences of ``vocabulary`` that describe it best, best first.

        ``vocabulary`` defaults to the captions of the training images.
        """
        names, vectors = self.text_vectors(images)
        sentences = list(vocabulary) or self._training_captions()
        cosines = vectors @ self._encoder()(sentences).T
        for name, row in zip(names, cosines, strict=True):
            best = row.topk(min(top, len(sentences)))
            yield (
                name,
                [Similarity(sentences[i], v) for v, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)],
            )

    def search(self, images: Loaded | Sequence[Path], text: str) -> list[Similarity]:
        """The names of the images, sorted by similarity to ``text``, best first."""
        names, vectors = self.text_vectors(images)
        cosines = vectors @ self._encoder()([text])[0]
        return [Similarity(names[i], float(cosines[i])) for i in cosines.argsort(descending=True).tolist()]

    def _training_captions(self) -> list[str]:
        file = Run(self.path).captions
        if not file.exists():
            raise ImpastoError(f"{self.path} does not hold its training captions: use --vocabulary.")
        return file.read_text(encoding="utf-8").splitlines()

    def _encoder(self) -> TextEncoder:
        self._text_encoder = self._text_encoder or TextEncoder()
        return self._text_encoder

    @torch.no_grad()
    def decode(self, latents: Latents) -> Iterator[tuple[str, Image.Image]]:
        """Decode latents; yields (name, image). Raises ImpastoError if their shapes do not fit this model."""
        for name, shape in zip(LEVEL_NAMES, latent_shapes(self.config), strict=True):
            if name not in latents.levels:
                raise ImpastoError(f"the latents have no level {name!r}; this model needs {', '.join(LEVEL_NAMES)}.")
            actual = latents.levels[name].shape[1:]
            if actual != shape:
                raise ImpastoError(f"level {name} has the shape {actual} per image; this model needs {shape}.")
        for start in range(0, len(latents.names), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
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
        progress: Callable[[str, int, int], None] = lambda task, done, total: None,
    ) -> "Report":
        """Evaluate this model on the folder or archive that it was trained on; see `impasto.evaluate.evaluate`.

        ``fit`` defaults to that of the training. ``features`` is an ONNX network for additional distances, see
        `impasto.evaluate.onnx_features`. Raises ImpastoError if the images do not fit the model, or the extra
        ``evaluate`` is not installed.
        """
        from impasto.evaluate.evaluate import evaluate
        from impasto.evaluate.onnx_features import OnnxFeatures

        if self.styles is None:
            raise ImpastoError(f"{self.path}: the model has no collections to sample from.")
        network = OnnxFeatures(features) if features is not None else None
        with self.cache() as cache:
            training = self._training_config()
            image_set = prepare(
                images,
                resolution=self.config.resolution,
                fit=fit or (training.fit if training else Fit.AUTO),
                zoom=training.zoom if training else 1.0,
                cache=cache,
            )
            return evaluate(
                self.network, self.styles, image_set, config, network=network, cache=cache, progress=progress
            )

    @contextmanager
    def cache(self) -> Iterator[Path]:
        """The cache folder of the run; a temporary folder if the model is not in a run, or the run is read-only."""
        cache = Run(self.path).cache
        if cache.is_dir() and os.access(cache, os.W_OK):
            yield cache
            return
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)

    def _training_config(self) -> TrainConfig | None:
        """The settings of the training, if the model is in a run."""
        file = Run(self.path).config
        return read_config(file) if file.exists() else None


def load(run: Path | str, device: str = "auto", dtype: str = "auto") -> Pipeline:
    """Load a model: a run folder, a .safetensors file, or the name of a built-in model. No code is executed.

    ``device`` is auto, cpu, cuda or mps. ``dtype`` is the floating-point format of the flow: float32, bfloat16, or auto
    for the faster one. Raises ImpastoError if there is no model, or it cannot be read.
    """
    path = resolve_model(Path(run))
    file = model_file(path)
    network, styles = load_model(file)
    name, _ = choose_device(device)
    flow_dtype, _ = choose_dtype(torch.device(name), dtype)
    return Pipeline(network.to(name), styles, path, fingerprint_of(file), flow_dtype)


def train(
    config: TrainConfig, listeners: Sequence[Listener] = (), cancel: Callable[[], bool] = lambda: False
) -> Pipeline:
    """Train a model, or resume training, and load the result.

    ``listeners`` get all events. ``cancel`` is called before every step; training saves and ends if it returns True.
    Raises ImpastoError if the images or the run folder are not usable.
    """
    run = _train(config, listeners, cancel)
    return load(run.folder, config.device)


def _batches(loaded: Loaded) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    for start in range(0, len(loaded.names), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        yield loaded.names[part], loaded.pixels[part]
