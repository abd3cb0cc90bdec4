"""The public interface: `impasto.train`, `impasto.load` and the methods of `Pipeline`."""

import dataclasses
import html
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

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
from impasto.create.grid import grid
from impasto.create.image import to_image
from impasto.create.palette import check_pixel_art, finish, resolve_palette
from impasto.create.recipe import Recipe, save_image
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
from impasto.references import (
    ImageInput,
    ImageInputs,
    Location,
    MemoryImage,
    References,
    as_references,
    location,
    locations,
    refused,
)
from impasto.terminal import default_listeners
from impasto.text import TextEncoder, TextVectors
from impasto.training.loop import train as _train
from impasto.training.run import Run, model_file, read_config

if TYPE_CHECKING:
    from impasto.evaluate.evaluate import Report

BATCH_SIZE = 8
"""Images that are encoded or decoded at a time."""


C = TypeVar("C")


@dataclass(frozen=True, repr=False)
class Generated:
    """An image, and the recipe that reproduces it. A notebook shows the image."""

    image: Image.Image
    recipe: Recipe

    def save(self, path: Path | str) -> None:
        """Write the image with its recipe to ``path`` (.png, .webp or .jpg), atomically; the folder is created.

        Raises ImpastoError for another suffix, a recipe that is too long, and a file that cannot be written.
        """
        path = _path(path, "save", "path")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImpastoError(f"cannot write {path}: {error.strerror or error}.") from error
        save_image(self.image, path, self.recipe)

    def __repr__(self) -> str:
        recipe, content = self.recipe, f" of {self.recipe.content!r}" if self.recipe.content is not None else ""
        seed = f"seed={recipe.settings.sampling.seed}, index={recipe.index}"
        return f"Generated({recipe.command}{content}, {_size(self.image)}, model={recipe.model!r}, {seed})"

    def _repr_png_(self) -> bytes:
        return _png(self.image)


@dataclass(frozen=True, repr=False)
class Reconstruction:
    """An input image, and images decoded from coarse prefixes of its levels. A notebook shows them side by side."""

    name: str
    original: Image.Image
    prefixes: tuple[Image.Image, ...]
    """Coarse to fine; the last is decoded from all levels."""

    def __repr__(self) -> str:
        number = len(self.prefixes)
        prefixes = f"{number} prefix{'es' if number > 1 else ''}"
        return f"Reconstruction({self.name!r}, {_size(self.original)}, {prefixes})"

    def _repr_png_(self) -> bytes:
        return _png(grid([[self.original, *self.prefixes]], background="checker"))


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

    def __repr__(self) -> str:
        collections = self.config.collections
        names = ", ".join(collections[:5]) + (", ..." if len(collections) > 5 else "")
        return (
            f"Pipeline({self.name!r}, {self._image_size}, {len(collections)} collections ({names}), "
            f"device={str(self.device)!r}, dtype={self.dtype!r}, fingerprint={self.fingerprint!r})"
        )

    def _repr_html_(self) -> str:
        rows = {
            "model": self.name,
            "images": self._image_size,
            "captions": "yes" if self.config.text_dim else "no",
            f"{len(self.config.collections)} collections": ", ".join(self.config.collections),
            "device": f"{self.device}, {self.dtype}",
            "fingerprint": self.fingerprint,
        }
        cells = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows.items())
        return f"<table>{''.join(cells)}</table>"

    @property
    def _image_size(self) -> str:
        """Side and mode of the training images."""
        side = self.config.resolution
        return f"{side} x {side} px {'RGBA' if self.config.channels == 4 else 'RGB'}"

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
        config = _settings(GenerateConfig() if config is None else config, GenerateConfig, "generate")
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

    def save_style(self, style: References, path: Path | str) -> None:
        """Pool style references, and write the result to a .style file, which is a reference too.

        ``style`` holds names of collections, paths and images, each with an optional weight. Raises ImpastoError for
        unknown styles and another suffix.
        """
        references = as_references(style, "save_style", "style")
        pooled, _ = self._style(references)
        if pooled is None:
            raise ImpastoError("STYLE is missing: name collections of the model, or images.")
        save_style(_path(path, "save_style", "path"), pooled, fingerprint=self.fingerprint, sources=references)

    def stylizer(self, config: StylizeConfig) -> Stylizer:
        """A stylizer for any number of images with the settings ``config``.

        Raises ImpastoError for unknown styles, and for settings that have no effect with this model.
        """
        _settings(config, StylizeConfig, "stylizer").check_style()
        config.check_model(self.config)
        style, sources = self._style(config.style)
        assert style is not None
        recipe = Recipe(self.name, self.fingerprint, config, dtype=self.dtype, sources=sources)
        return Stylizer(self.network, style, recipe, *self._text(config))

    def stylize(self, images: ImageInputs, config: StylizeConfig) -> Iterator[Generated]:
        """Stylize images, each at its own size.

        ``images`` is a path (of a file, a folder or an archive), an image of Pillow in any mode, or a sequence of
        these. Raises ImpastoError if there are none, for unknown styles, and for images whose size does not fit the
        settings.
        """
        _settings(config, StylizeConfig, "stylize")
        places = locations(images, "stylize", "images")
        for place in places:
            config.check_clip(str(place), _is_clip(place))
        stylizer = self.stylizer(config)
        for place in places:
            for image in self.whole_images(place, config.max_side):
                yield Generated(stylizer(image), stylizer.recipe(image))

    def stylize_clip(
        self,
        clip: Path | str,
        target: Path | str,
        config: StylizeConfig,
        *,
        watch: Watch = lambda frames, count: frames,
    ) -> StylizedClip:
        """Stylize a clip with temporal smoothing, and write it with its sound to ``target`` (.webm, .mp4 or .webp).

        After an interruption the same call resumes. Needs the extra ``video``; see `impasto.create.stylize_clip`.
        """
        _settings(config, StylizeConfig, "stylize_clip")
        source, target = _path(clip, "stylize_clip", "clip"), _path(target, "stylize_clip", "target")
        opened = Clip(source, max_side=config.max_side, channels=self.config.channels)
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
        _settings(config, FuseConfig, "fuse").check_sources()
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
        """The image of a file or in memory, or the images of a folder or archive, which share the weight."""
        source, weight = split_weight(text)
        images = list(self.whole_images(source, max_side))
        if not images:
            raise ImpastoError(f"there is no readable image in {source}.")
        return [Source(image, weight / len(images)) for image in images]

    def again(self, recipe: Recipe) -> Generated:
        """Reproduce the image that ``recipe`` belongs to.

        Raises ImpastoError for a recipe of another model, if a file that it names is missing or has changed, and if it
        was read from a file and names an image in memory.
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
        if recipe.content is None or _is_clip(recipe.content):
            raise ImpastoError(f"it belongs to the clip {recipe.content}: stylize that again with impasto stylize.")
        return next(self.stylize(recipe.content, settings.without_unused(self.config)))

    def whole_images(self, image: ImageInput, max_side: int = MAX_SIDE) -> WholeImages:
        """The images of a file, folder or archive, or one of Pillow, at their own sizes, with this model's channels."""
        place = location(image, "whole_images", "image")
        return WholeImages(place, max_side=max_side, channels=self.config.channels)

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
                f"{self.path} was trained without captions: train a model on images with captions, and the setting "
                "--text."
            )

    def read(self, images: ImageInputs, listeners: Sequence[Listener] = ()) -> Loaded:
        """Read images, cropped or padded to the model's resolution, and with its channels.

        ``images`` is a path (of a file, a folder or an archive), an image of Pillow in any mode, or a sequence of
        these. Files in a folder that cannot be read are skipped; ``listeners`` get a warning with the reason. Raises
        ImpastoError for a file named in ``images`` that cannot be read, and if no image can be read.
        """
        loaded = read_images(
            locations(images, "read", "images"), resolution=self.config.resolution, channels=self.config.channels
        )
        for name, reason in loaded.skipped.items():
            for listener in listeners:
                listener(Warned(f"skipped {name}: {reason}"))
        return loaded

    def _loaded(self, images: Loaded | ImageInputs, call: str) -> Loaded:
        """The ``images`` of the method ``call``, read if necessary."""
        return images if isinstance(images, Loaded) else self.read(locations(images, call, "images"))

    @torch.no_grad()
    def reconstruct(self, images: Loaded | ImageInputs, levels: bool = False) -> Iterator[Reconstruction]:
        """Encode and decode images; with ``levels`` also from every coarse prefix of the levels.

        ``images`` are those of `read`, or its result.
        """
        loaded = self._loaded(images, "reconstruct")
        autoencoder = self.network.autoencoder
        for names, pixels in _batches(loaded):
            posterior = autoencoder.posterior(to_images(pixels, self.device))
            prefixes = autoencoder.prefixes(posterior) if levels else [autoencoder.decode(modes(posterior))]
            decoded = [prefix.cpu().numpy() for prefix in prefixes]
            for row, name in enumerate(names):
                outputs = tuple(to_image(prefix[row]) for prefix in decoded)
                yield Reconstruction(name, to_image(pixels[row]), outputs)

    @torch.no_grad()
    def encode(self, images: Loaded | ImageInputs) -> Latents:
        """The modes of the posterior of images at every level, style first; ``images`` are those of `read`."""
        loaded = self._loaded(images, "encode")
        batches: list[list[np.ndarray]] = [[] for _ in LEVEL_NAMES]
        for _, pixels in _batches(loaded):
            latents = modes(self.network.autoencoder.posterior(to_images(pixels, self.device)))
            for parts, values in zip(batches, latents, strict=True):
                parts.append(values.cpu().numpy())
        levels = {name: np.concatenate(parts) for name, parts in zip(LEVEL_NAMES, batches, strict=True)}
        return Latents(loaded.names, levels, self.fingerprint)

    @torch.no_grad()
    def text_vectors(self, images: Loaded | ImageInputs) -> tuple[tuple[str, ...], TextVectors]:
        """The names of images, and for each image the predicted text vector, of unit length.

        ``images`` are those of `read`. Raises ImpastoError if the model was trained without captions.
        """
        self._check_captions()
        predictor = self.network.caption_predictor
        assert predictor is not None
        loaded = self._loaded(images, "text_vectors")
        vectors = []
        for _, pixels in _batches(loaded):
            vectors.append(predictor(modes(self.network.autoencoder.posterior(to_images(pixels, self.device)))).cpu())
        return loaded.names, torch.cat(vectors)

    def caption(
        self, images: Loaded | ImageInputs, vocabulary: Sequence[str] = (), top: int = 3
    ) -> Iterator[tuple[str, list[Similarity]]]:
        """Yield the name of each image, and the ``top`` sentences of ``vocabulary`` that describe it best, best first.

        ``images`` are those of `read`. ``vocabulary`` defaults to the captions of the training images.
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

    def search(self, images: Loaded | ImageInputs, text: str) -> list[Similarity]:
        """The names of the images, those of `read`, sorted by similarity to ``text``, best first."""
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
        images: Path | str,
        config: EvaluateConfig | None = None,
        *,
        fit: Fit | None = None,
        features: Path | str | None = None,
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
        folder = _path(images, "evaluate", "images")
        config = _settings(EvaluateConfig() if config is None else config, EvaluateConfig, "evaluate")
        network = OnnxFeatures(_path(features, "evaluate", "features")) if features is not None else None
        with self.cache() as cache:
            training = self._training_config()
            image_set = prepare(
                folder,
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
    path = resolve_model(_path(run, "load", "run"))
    file = model_file(path)
    network, styles = load_model(file)
    name, _ = choose_device(device)
    flow_dtype, _ = choose_dtype(torch.device(name), dtype)
    return Pipeline(network.to(name), styles, path, fingerprint_of(file), flow_dtype)


def train(
    config: TrainConfig,
    listeners: Sequence[Listener] | None = None,
    cancel: Callable[[], bool] = lambda: False,
) -> Pipeline:
    """Train a model, or resume training, and load the result.

    ``listeners`` get all events. By default the progress is shown if stderr is a terminal, and in notebooks;
    ``listeners=()`` shows nothing. ``cancel`` is called before every step; training saves and ends if it returns True.
    Raises ImpastoError if the images or the run folder are not usable.
    """
    _settings(config, TrainConfig, "train")
    with nullcontext(()) if listeners is not None else default_listeners() as defaults:
        run = _train(config, defaults if listeners is None else listeners, cancel)
    return load(run.folder, config.device)


def _settings(config: C, cls: type[C], call: str) -> C:
    """``config``. Raises ImpastoError if it is not an instance of ``cls``."""
    if not isinstance(config, cls):
        raise refused(call, "config", config, f"{'an' if cls.__name__[0] in 'AEIOU' else 'a'} {cls.__name__}")
    return config


def _path(value: Path | str, call: str, name: str) -> Path:
    """The argument ``name`` of ``call`` as a path. Raises ImpastoError for other types."""
    if not isinstance(value, (str, Path)):
        raise refused(call, name, value, "a path")
    return Path(value)


def _is_clip(place: Location | str) -> bool:
    return not isinstance(place, MemoryImage) and is_clip(Path(place))


def _size(image: Image.Image) -> str:
    return f"{image.width} x {image.height} px {image.mode}"


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _batches(loaded: Loaded) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    for start in range(0, len(loaded.names), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        yield loaded.names[part], loaded.pixels[part]
