"""What is shown at once, without a job: stylization beside its sliders, and what styles look like."""

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

LONGEST = (256, 128, 64, 32)
"""Longer sides in pixels, the best first; never less than the model's own."""
STEPS = (4, 2)
"""Of the sampler; fewer where even the smallest picture takes long."""
MAX_SECONDS = 0.3
"""A preview that takes longer is made smaller, or in fewer steps, from then on."""
SAMPLES = 3
SAMPLE_STEPS = 8
ENCODED_IN_MEMORY = 8


class Previews:
    """Makes small pictures in few steps, one request at a time; what was encoded is kept."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._pace: dict[str, int] = {}
        """By model: how far down the ways to make previews its speed has led."""
        self._encoded: OrderedDict[tuple[str, str, int, int, str], Encoded] = OrderedDict()
        self._lock = threading.Lock()

    def stylize(self, request: PreviewRequest) -> bytes:
        """A small WebP of the first picture of an upload. Raises ImpastoError where something is not there."""
        model = self._workshop.model(request.model)
        sides = [side for side in LONGEST if side >= model.config.resolution] or [model.config.resolution]
        ways = [(side, STEPS[0]) for side in sides] + [(sides[-1], steps) for steps in STEPS[1:]]
        style = self._workshop.style_texts(model, request.style)
        with self._lock:
            pace = self._pace.get(model.fingerprint, 0)
            side, steps = ways[pace]
            config = dataclasses.replace(request.settings, style=style, max_side=min(side, request.settings.max_side))
            config.check_clip("a preview", False)
            if config.follows_flow(model.config):
                config = changed(config, steps=min(steps, config.sampling.steps))
            stylizer = model.stylizer(config)
            seen = self._seen(model, request.source, stylizer)
            began = time.monotonic()
            image = stylizer.stylize(seen)
            if time.monotonic() - began > MAX_SECONDS:
                self._pace[model.fingerprint] = min(pace + 1, len(ways) - 1)
        packed = io.BytesIO()
        image.save(packed, "WEBP", quality=90)
        return packed.getvalue()

    def samples(self, name: str, reference: Reference) -> bytes:
        """A few new pictures in one style, side by side, as a WebP; made once for a model and a style."""
        model = self._workshop.model(name)
        style = self._workshop.style_texts(model, [reference])
        key = hashlib.sha256(f"{model.fingerprint}/{style}".encode()).hexdigest()[:32]
        file = self._workshop.folder / "samples" / f"{key}.webp"
        with self._lock:
            if not file.exists():
                config = flat(GenerateConfig, style=style, steps=SAMPLE_STEPS)
                made = [picture.image for picture in model.generate(SAMPLES, config)]
                strip = Image.new("RGBA", (sum(image.width for image in made), made[0].height))
                for number, image in enumerate(made):
                    strip.paste(image, (number * image.width, 0))
                file.parent.mkdir(exist_ok=True)
                write_atomically(file, lambda temporary: strip.save(temporary, "WEBP", quality=90))
        return file.read_bytes()

    def _seen(self, model: "Pipeline", source: str, stylizer: "Stylizer") -> "Encoded":
        config = stylizer.config
        key = model.fingerprint, source, config.max_side, config.num_shifts, config.output.tile
        if key not in self._encoded:
            picture = next(iter(model.whole_images(self._workshop.upload(source), config.max_side)))
            self._encoded[key] = stylizer.read(picture)
        self._encoded.move_to_end(key)
        while len(self._encoded) > ENCODED_IN_MEMORY:
            self._encoded.popitem(last=False)
        return self._encoded[key]
