"""Small pictures without a job: previews of stylization, and samples of styles."""

import dataclasses
import hashlib
import io
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from PIL import Image

from impasto.atomic import write_atomically
from impasto.config import GenerateConfig, flat
from impasto.settings import changed
from impasto.web.requests import PreviewRequest, Reference
from impasto.web.work import Workshop

if TYPE_CHECKING:
    from impasto import Pipeline
    from impasto.create.stylize import Encoded, Stylizer

PREVIEW_SIDES = (256, 128, 64, 32)
"""Longer sides in pixels, best first; the resolution of the model is the minimum."""
STEPS = (4, 2)
"""Steps of the sampler, best first."""
MAX_SECONDS = 0.3
"""After a slower preview, the next ones are smaller or have fewer steps."""
NUM_SAMPLES = 3
SAMPLE_STEPS = 8
MAX_ENCODED = 8
"""Number of encoded pictures in memory."""


class Previews:
    """Renders small pictures in few steps, one request at a time; caches encoded pictures."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._quality: dict[str, int] = {}
        """Fingerprint of a model to its index in the list of preview sizes and steps."""
        self._encoded: OrderedDict[tuple[str, str, int, int, str], Encoded] = OrderedDict()
        self._lock = threading.Lock()

    def stylize(self, request: PreviewRequest) -> bytes:
        """A small WebP of the first picture of an upload, stylized.

        Raises ImpastoError if the model, the upload or a style does not exist.
        """
        model = self._workshop.model(request.model)
        sides = [side for side in PREVIEW_SIDES if side >= model.config.resolution] or [model.config.resolution]
        options = [(side, STEPS[0]) for side in sides] + [(sides[-1], steps) for steps in STEPS[1:]]
        style = self._workshop.style_texts(model, request.style)
        with self._lock:
            quality = self._quality.get(model.fingerprint, 0)
            side, steps = options[quality]
            config = dataclasses.replace(request.settings, style=style, max_side=min(side, request.settings.max_side))
            config.check_clip("a preview", False)
            if config.follows_flow(model.config):
                config = changed(config, steps=min(steps, config.sampling.steps))
            stylizer = model.stylizer(config)
            encoded = self._encode(model, request.source, stylizer)
            started = time.monotonic()
            image = stylizer.stylize(encoded)
            if time.monotonic() - started > MAX_SECONDS:
                self._quality[model.fingerprint] = min(quality + 1, len(options) - 1)
        data = io.BytesIO()
        image.save(data, "WEBP", quality=90)
        return data.getvalue()

    def samples(self, name: str, reference: Reference) -> bytes:
        """Generated pictures in one style, side by side, as a WebP; cached on disk."""
        model = self._workshop.model(name)
        style = self._workshop.style_texts(model, [reference])
        key = hashlib.sha256(f"{model.fingerprint}/{style}".encode()).hexdigest()[:32]
        file = self._workshop.folder / "samples" / f"{key}.webp"
        with self._lock:
            if not file.exists():
                config = flat(GenerateConfig, style=style, steps=SAMPLE_STEPS)
                images = [picture.image for picture in model.generate(NUM_SAMPLES, config)]
                strip = Image.new("RGBA", (sum(image.width for image in images), images[0].height))
                for number, image in enumerate(images):
                    strip.paste(image, (number * image.width, 0))
                file.parent.mkdir(exist_ok=True)
                write_atomically(file, lambda temporary: strip.save(temporary, "WEBP", quality=90))
        return file.read_bytes()

    def _encode(self, model: "Pipeline", source: str, stylizer: "Stylizer") -> "Encoded":
        config = stylizer.config
        key = model.fingerprint, source, config.max_side, config.num_shifts, config.output.tile
        if key not in self._encoded:
            picture = next(iter(model.whole_images(self._workshop.upload(source), config.max_side)))
            self._encoded[key] = stylizer.read(picture)
        self._encoded.move_to_end(key)
        while len(self._encoded) > MAX_ENCODED:
            self._encoded.popitem(last=False)
        return self._encoded[key]
