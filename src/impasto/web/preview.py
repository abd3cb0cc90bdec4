"""What is shown at once, without a job: redrawing beside its sliders, and what styles look like."""

import hashlib
import io
import threading
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image

from impasto import api
from impasto.atomic import write_atomically
from impasto.config import GenerateConfig, StylizeConfig
from impasto.create.canvas import Canvas
from impasto.create.stylize import Stylizer
from impasto.data import Whole
from impasto.model.autoencoder import Experts
from impasto.web.requests import PreviewRequest, Reference
from impasto.web.work import Workshop

STEPS = 4
SAMPLES = 3
SAMPLE_STEPS = 8
LONGEST = 256
"""Longer side in pixels; less for models of small pictures."""
ENCODED_IN_MEMORY = 8


@dataclass(frozen=True)
class Encoded:
    """A small picture, and what a model's experts say of it."""

    picture: Whole
    canvas: Canvas
    experts: Experts


class Previews:
    """Makes small pictures in few steps, one request at a time; what was encoded is kept."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._encoded: OrderedDict[tuple[str, str], Encoded] = OrderedDict()
        self._lock = threading.Lock()

    def redraw(self, request: PreviewRequest) -> bytes:
        """A small WebP of the first picture of an upload. Raises ImpastoError where something is not there."""
        model = self._workshop.model(request.model)
        config = StylizeConfig(
            style=self._workshop.style_texts(model, request.style),
            strength=request.strength,
            preserve_color=request.preserve_color,
            guidance=request.guidance,
            seed=request.seed,
            steps=STEPS,
            most=min(LONGEST, 2 * model.config.resolution),
        )
        with self._lock:
            stylizer = model.stylizer(config)
            seen = self._seen(model, request.source, stylizer)
            painted = seen.canvas.take(stylizer.paint(stylizer.told(seen.experts)))
            image = stylizer.finished(painted, seen.picture.pixels)
        packed = io.BytesIO()
        image.save(packed, "WEBP", quality=90)
        return packed.getvalue()

    def samples(self, name: str, reference: Reference) -> bytes:
        """A few new pictures in one style, side by side, as a WebP; made once for a model and a style."""
        model = self._workshop.model(name)
        style = self._workshop.style_texts(model, [reference])
        key = hashlib.sha256(f"{model.identity}/{style}".encode()).hexdigest()[:32]
        file = self._workshop.folder / "samples" / f"{key}.webp"
        with self._lock:
            if not file.exists():
                config = GenerateConfig(style=style, steps=SAMPLE_STEPS)
                made = [picture.image for picture in model.generate(SAMPLES, config)]
                strip = Image.new("RGBA", (sum(image.width for image in made), made[0].height))
                for number, image in enumerate(made):
                    strip.paste(image, (number * image.width, 0))
                file.parent.mkdir(exist_ok=True)
                write_atomically(file, lambda temporary: strip.save(temporary, "WEBP", quality=90))
        return file.read_bytes()

    def _seen(self, model: api.Model, source: str, stylizer: Stylizer) -> Encoded:
        key = model.identity, source
        if key not in self._encoded:
            picture = next(iter(model.whole_pictures(self._workshop.upload(source), stylizer.config.most)))
            height, width = picture.pixels.shape[1:]
            canvas = Canvas.around(height, width, model.config.resolution)
            experts = stylizer.encode(canvas.put(picture.pixels))
            self._encoded[key] = Encoded(picture, canvas, experts)
        self._encoded.move_to_end(key)
        while len(self._encoded) > ENCODED_IN_MEMORY:
            self._encoded.popitem(last=False)
        return self._encoded[key]
