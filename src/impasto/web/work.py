"""Execution of jobs: converts requests to settings, calls the API and stores the results."""

import dataclasses
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

import impasto
from impasto.built_in import FOLDER, built_in_models
from impasto.config import ClipFormat, FuseConfig, StylizeConfig, TrainConfig
from impasto.create.clip import Clip, Frame, is_clip
from impasto.create.recipe import save_image
from impasto.errors import ImpastoError
from impasto.events import Event, Finished, Note, Previewed, Stepped, Warned, Working
from impasto.training.run import Run
from impasto.web.queue import CancelledError, Context
from impasto.web.requests import (
    FuseRequest,
    GenerateRequest,
    JobRequest,
    Reference,
    StylizeRequest,
    TrainRequest,
)
from impasto.web.store import Picture, Store

if TYPE_CHECKING:
    from impasto.api import Generated, Pipeline

MODELS_IN_MEMORY = 2
REQUESTS: TypeAdapter[Any] = TypeAdapter(JobRequest)


class Workshop:
    """Runs the four kinds of jobs; holds the folders and the models in memory."""

    def __init__(self, folder: Path, models: Path, store: Store, device: str = "auto") -> None:
        self.folder, self.models_folder, self.store, self.device = folder, models, store, device
        for name in ("pictures", "uploads", "styles"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        models.mkdir(parents=True, exist_ok=True)
        self._loaded: OrderedDict[str, tuple[float, Pipeline]] = OrderedDict()
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Import the slow modules, in a thread, so that the page appears before them."""
        _ = impasto.load

    def model_names(self) -> list[str]:
        """Names of the runs with a model and of the built-in models."""
        runs = sorted(path.name for path in self.models_folder.iterdir() if Run(path).model.is_file())
        return [*runs, *(name for name in built_in_models() if name not in runs)]

    def run(self, name: str) -> Run:
        """The folder of a model; it need not exist yet."""
        run = Run(self.models_folder / name)
        return run if run.folder.exists() or name not in built_in_models() else Run(FOLDER / name)

    def model(self, name: str) -> "Pipeline":
        """The model of a run, cached in memory. Raises ImpastoError if it does not exist."""
        if name not in self.model_names():
            raise ImpastoError(f"there is no model {name!r}; the models are: {', '.join(self.model_names())}.")
        with self._lock:
            run = self.run(name)
            changed = run.model.stat().st_mtime
            entry = self._loaded.get(name)
            if entry is None or entry[0] != changed:
                entry = self._loaded[name] = changed, impasto.load(run.folder, self.device)
            self._loaded.move_to_end(name)
            while len(self._loaded) > MODELS_IN_MEMORY:
                self._loaded.popitem(last=False)
            return entry[1]

    def upload(self, id: str) -> Path:
        """The file of an upload. Raises ImpastoError if it does not exist."""
        upload = self.store.upload(id)
        if upload is None:
            raise ImpastoError(f"there is no upload {id}.")
        return self.folder / "uploads" / upload.file

    def style_texts(self, model: "Pipeline", references: Sequence[Reference]) -> tuple[str, ...]:
        """References in the syntax of --style. Raises ImpastoError for one that does not exist."""
        texts = []
        for reference in references:
            if reference.kind == "collection":
                if reference.source not in model.config.collections:
                    raise ImpastoError(f"the model has no collection {reference.source!r}.")
                source = reference.source
            elif reference.kind == "upload":
                source = str(self.upload(reference.source))
            else:
                files = {style["name"]: style["file"] for style in self.store.styles()}
                if reference.source not in files:
                    raise ImpastoError(f"there is no saved style {reference.source!r}.")
                source = str(self.folder / "styles" / files[reference.source])
            if reference.weight > 0:
                texts.append(f"{source}:{reference.weight:g}")
        return tuple(texts)

    def work(self, context: Context) -> None:
        """Run one job."""
        request = REQUESTS.validate_python(dict(context.job.request))
        if isinstance(request, TrainRequest):
            self._train(context, request)
            return
        model = self.model(request.model)
        if isinstance(request, GenerateRequest):
            style = self.style_texts(model, request.style)
            config = dataclasses.replace(request.settings, style=style)
            generated = model.generate(request.count, config, on_step=context.progress)
            self._save_all(context, generated, _label(request))
        elif isinstance(request, FuseRequest):
            config = self._fusion(model, request)
            steps = config.sampling.steps

            def fused() -> "Iterator[Generated]":
                for number in range(request.count):

                    def on_step(done: int, total: int, before: int = number * steps) -> None:
                        context.progress(before + done, request.count * steps)

                    yield from model.fuse(config, start=number, on_step=on_step)

            self._save_all(context, fused(), _label(request))
        else:
            assert isinstance(request, StylizeRequest)
            self._stylize(context, model, request)

    def _fusion(self, model: "Pipeline", request: FuseRequest) -> FuseConfig:
        """The settings of a fusion, with one list of sources per expert instead of weights per source."""
        sources: dict[str, Any] = {}
        for name in ("pixel", "orientation", "texture", "style"):
            weighted = [(self.upload(source.source), getattr(source, name)) for source in request.sources]
            sources[name] = tuple(f"{path}:{weight:g}" for path, weight in weighted if weight > 0)
        sources["style"] += self.style_texts(model, request.style)
        return dataclasses.replace(request.settings, **sources)

    def _stylize(self, context: Context, model: "Pipeline", request: StylizeRequest) -> None:
        config = dataclasses.replace(request.settings, style=self.style_texts(model, request.style))
        source = self.upload(request.source)
        if is_clip(source):
            self._clip(context, model, source, config, f".{request.clip or ClipFormat.WEBM}")
            return
        total = len(model.whole_images(source, config.max_side))

        def stylized() -> "Iterator[Generated]":
            for number, picture in enumerate(model.stylize(source, config), start=1):
                yield picture
                context.progress(number, total)

        context.progress(0, total)
        self._save_all(context, stylized(), _label(request))

    def _clip(self, context: Context, model: "Pipeline", source: Path, config: StylizeConfig, suffix: str) -> None:
        id = uuid.uuid4().hex
        target = self.folder / "pictures" / f"{id}{suffix}"

        def watch(frames: Iterable[Frame], count: int) -> Iterator[Frame]:
            for number, frame in enumerate(frames):
                context.progress(number, count)
                yield frame

        clip = model.stylize_clip(source, target, config, watch=watch)
        size = Clip(source, max_side=config.max_side, channels=3)
        self._add(context, Picture(id, context.job.id, time.time(), False, size.width, size.height, target.name, ""))
        if clip.decode_error:
            context.progress(clip.frames, clip.frames, clip.decode_error)

    def _save_all(self, context: Context, generated: "Iterable[Generated]", label: str) -> None:
        for picture in generated:
            id = uuid.uuid4().hex
            file = self.folder / "pictures" / f"{id}.png"
            save_image(picture.image, file, picture.recipe)
            width, height = picture.image.size
            self._add(context, Picture(id, context.job.id, time.time(), False, width, height, file.name, label))

    def _add(self, context: Context, picture: Picture) -> None:
        self.store.add_picture(picture)
        values = {"id": picture.id, "width": picture.width, "height": picture.height, "file": picture.file}
        context.publish("picture", {"picture": values})

    def _train(self, context: Context, request: TrainRequest) -> None:
        config = TrainConfig(
            data=self.upload(request.source),
            out=self.models_folder / request.name,
            finetune=self.run(request.finetune).folder if request.finetune else None,
            size=request.size,
            resolution=None if request.finetune else request.resolution,
            minutes=request.minutes,
            seed=request.seed,
            text=request.text,
            device=self.device,
            preview_minutes=min(5.0, request.minutes / 6),
        )

        def listen(event: Event) -> None:
            if isinstance(event, Stepped):
                text = f"{event.stage}: {event.images_per_second:.0f} pictures/s"
                # Not `progress`, which raises: training finishes its step and saves.
                context.report(round(1000 * event.total_progress), 1000, text)
                context.publish(
                    "step", {"stage": str(event.stage), "progress": event.total_progress, "terms": event.terms}
                )
            elif isinstance(event, Previewed):
                context.publish("preview", {"run": request.name, "file": event.path.name})
            elif isinstance(event, Working):
                context.report(event.done, event.total, event.task)
            elif isinstance(event, Note | Warned):
                context.publish("note", {"text": event.text})
            elif isinstance(event, Finished):
                for result in event.results:
                    context.publish("note", {"text": result})

        impasto.train(config, [listen], context.cancelled.is_set)
        if context.cancelled.is_set():
            raise CancelledError

    def save_style(self, name: str, model_name: str, references: Sequence[Reference]) -> None:
        """Pool references into a style with this name. Raises ImpastoError like `Pipeline.save_style`."""
        model = self.model(model_name)
        file = f"{uuid.uuid4().hex}.style"
        model.save_style(self.style_texts(model, references), self.folder / "styles" / file)
        self.store.add_style(name, model_name, file)

    def remove_picture(self, picture: Picture) -> None:
        """Delete a picture and its file."""
        self.store.remove_picture(picture.id)
        (self.folder / "pictures" / picture.file).unlink(missing_ok=True)


def _label(request: GenerateRequest | StylizeRequest | FuseRequest) -> str:
    """The text that the gallery searches: kind, model, prompt and styles."""
    parts = [request.kind, request.model, request.settings.prompt.text or ""]
    parts += [reference.source for reference in request.style if reference.kind != "upload"]
    return " ".join(part for part in parts if part)
