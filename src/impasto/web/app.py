"""The REST interface and the page, which uses nothing but this interface; documented at /docs."""

import asyncio
import dataclasses
import io
import json
import queue
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Annotated, Any, Literal

from fastapi import FastAPI, File, HTTPException, Query, Request, UploadFile
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from PIL import Image
from starlette.concurrency import run_in_threadpool

from impasto.built_in import built_in_models
from impasto.config import Resolution, TrainConfig
from impasto.create.clip import is_clip
from impasto.create.recipe import read_recipe
from impasto.data import prepare
from impasto.errors import ImpastoError
from impasto.version import __version__
from impasto.web.guard import Guard
from impasto.web.preview import Previews
from impasto.web.queue import FullError, JobQueue
from impasto.web.requests import Id, JobRequest, Name, PictureChange, PreviewRequest, Reference, Selection, StyleRequest
from impasto.web.settings import describe_settings
from impasto.web.store import Job, Picture, Store
from impasto.web.uploads import TooLargeError, receive
from impasto.web.work import Workshop

STATIC = Path(__file__).parent / "static"
PING_SECONDS = 15.0
RETRY_SECONDS = 5
THUMBNAIL = 256
"""Longer side in pixels."""
MAX_EVENTS = 5000
"""Maximum number of lines of a training log in one response."""


def create_app(folder: Path, models: Path, *, token: str | None = None, device: str = "auto") -> FastAPI:
    """The studio with its files in ``folder`` and its runs in ``models``; ``token`` restricts access."""
    store = Store(folder / "studio.sqlite")
    workshop = Workshop(folder, models, store, device)
    previews = Previews(workshop)
    jobs = JobQueue(store, workshop.work)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        Thread(target=workshop.warm_up, name="impasto-warm-up", daemon=True).start()
        yield
        await run_in_threadpool(jobs.close)
        store.close()

    # FastAPI's own /docs loads scripts from another site; docs.html in the static folder replaces it.
    app = FastAPI(title="Impasto", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.middleware("http")(Guard(token))

    @app.exception_handler(ImpastoError)
    async def refuse(request: Request, error: ImpastoError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 413 if isinstance(error, TooLargeError) else 422)

    def job_of(id: str) -> Job:
        job = store.job(id)
        if job is None:
            raise HTTPException(404, "there is no such job")
        return job

    def picture_of(id: str) -> Picture:
        picture = store.picture(id)
        if picture is None:
            raise HTTPException(404, "there is no such picture")
        return picture

    # Models and styles

    @app.get("/api/models", summary="Trained models")
    def get_models() -> list[dict[str, Any]]:
        return [{"name": name} for name in workshop.model_names()]

    @app.get("/api/models/{name}", summary="One model: its resolution, its collections, and whether it supports text")
    def get_model(name: Name) -> dict[str, Any]:
        if name not in workshop.model_names():
            raise HTTPException(404, "there is no such model")
        model = workshop.model(name)
        shape = model.config
        return {
            "name": name,
            "fingerprint": model.fingerprint,
            "resolution": shape.resolution,
            "channels": shape.channels,
            "collections": shape.collections,
            "reads_text": shape.text_dim > 0,
            "decoder_only_stylization": shape.decoder_only_stylization,
        }

    @app.get("/api/models/{name}/log", summary="Loss terms of a run, oldest first")
    def get_log(name: Name, after: Annotated[int, Query(ge=0)] = 0) -> list[dict[str, Any]]:
        file = workshop.run(name).log
        if not file.is_file():
            raise HTTPException(404, "there is no such run")
        lines = file.read_text(encoding="utf-8").splitlines()[after : after + MAX_EVENTS]
        return [json.loads(line) for line in lines]

    @app.get("/api/models/{name}/previews", summary="Names of a run's preview sheets, oldest first")
    def get_previews(name: Name) -> list[str]:
        return sorted(path.name for path in workshop.run(name).previews.glob("*.png"))

    @app.get("/api/models/{name}/previews/{file}", summary="One preview sheet", response_class=FileResponse)
    def get_preview(name: Name, file: str) -> FileResponse:
        if file not in get_previews(name):
            raise HTTPException(404, "there is no such preview")
        return FileResponse(workshop.run(name).previews / file)

    @app.get(
        "/api/models/{name}/samples", summary="Sample pictures in a collection or saved style", response_class=Response
    )
    def get_samples(
        name: Name, source: Annotated[str, Query(max_length=200)], kind: Literal["collection", "style"] = "collection"
    ) -> Response:
        return Response(previews.samples(name, Reference(kind=kind, source=source)), media_type="image/webp")

    @app.get("/api/styles", summary="Saved styles, newest first")
    def get_styles() -> list[dict[str, Any]]:
        return [{"name": style["name"], "model": style["model"]} for style in store.styles()]

    @app.post("/api/styles", summary="Save a style pooled from collections, uploads and other styles", status_code=201)
    def add_style(body: StyleRequest) -> dict[str, str]:
        workshop.save_style(body.name, body.model, body.style)
        return {"name": body.name}

    @app.delete("/api/styles/{name}", summary="Delete a saved style", status_code=204)
    def remove_style(name: Name) -> None:
        store.remove_style(name)

    # Uploads

    @app.post("/api/uploads", summary="Upload a picture, a clip, or a .zip or .tar of pictures", status_code=201)
    async def add_upload(file: Annotated[UploadFile, File()]) -> dict[str, Any]:
        name = file.filename or "file"
        kind, stored = await run_in_threadpool(receive, file.file, name, folder / "uploads")
        upload = store.add_upload(kind, name[:200], stored)
        recipe = _recipe_in(folder / "uploads" / stored) if kind == "picture" else None
        return {"id": upload.id, "kind": upload.kind, "name": upload.name, "recipe": recipe}

    @app.get("/api/uploads/{id}/picture", summary="Thumbnail of an uploaded picture", response_class=Response)
    def get_upload(id: Id) -> Response:
        upload = store.upload(id)
        if upload is None or upload.kind != "picture":
            raise HTTPException(404, "there is no such picture")
        return Response(_thumbnail(folder / "uploads" / upload.file), media_type="image/webp")

    @app.post(
        "/api/uploads/{id}/audit", summary="Audit of an uploaded archive: its pictures as training would use them"
    )
    def get_audit(id: Id, resolution: Resolution | None = None) -> dict[str, Any]:
        upload = store.upload(id)
        if upload is None or upload.kind != "archive":
            raise HTTPException(404, "there is no such archive")
        path = folder / "uploads" / upload.file
        from impasto.training.choice import choose  # imports torch

        cache = folder / "uploads" / "cache"
        chosen = choose(TrainConfig(data=path, out=cache, resolution=resolution)).config
        assert chosen.resolution is not None
        audit = prepare(path, resolution=chosen.resolution, fit=chosen.fit, zoom=chosen.zoom, cache=cache).audit
        return {"text": audit.text()} | json.loads(audit.to_json())

    @app.post("/api/recipes", summary="Read the recipe in a picture that Impasto wrote")
    async def read(file: Annotated[UploadFile, File()]) -> dict[str, Any]:
        _, stored = await run_in_threadpool(receive, file.file, file.filename or "file", folder / "uploads")
        path = folder / "uploads" / stored
        try:
            return json.loads(read_recipe(path).to_json())
        finally:
            path.unlink(missing_ok=True)

    # Jobs

    @app.get("/api/settings", summary="All settings of each kind of job: default, range and help")
    def get_settings() -> dict[str, list[dict[str, Any]]]:
        return describe_settings()

    @app.post("/api/jobs", summary="Queue a job", status_code=202, responses={429: {"description": "queue full"}})
    def add_job(body: JobRequest) -> Any:
        request = body.model_dump(mode="json")
        if body.kind == "train":
            busy = [j for j in store.jobs(limit=1000) if j.kind == "train" and not j.state.is_over]
            if busy:
                raise HTTPException(409, "another training is queued or running: cancel it, or wait for it")
            workshop.upload(body.source)
            if body.name in built_in_models():
                raise HTTPException(422, f"{body.name} is the name of a built-in model: use another name")
            if body.finetune is not None and body.finetune not in workshop.model_names():
                raise HTTPException(422, f"there is no model {body.finetune!r}")
        else:
            if body.model not in workshop.model_names():
                raise HTTPException(422, f"there is no model {body.model!r}")
            if body.kind == "stylize":
                source = workshop.upload(body.source)
                body.settings.check_clip("the upload", is_clip(source), body.clip)
            if body.kind == "fuse":
                for fused in body.sources:
                    workshop.upload(fused.source)
        try:
            job = jobs.add(body.kind, request)
        except FullError:
            headers = {"Retry-After": str(RETRY_SECONDS)}
            return JSONResponse({"detail": "the queue is full; try again later"}, 429, headers)
        return jobs.describe(job)

    @app.post("/api/preview", summary="A small stylized picture, without a job", response_class=Response)
    def preview(body: PreviewRequest) -> Response:
        return Response(previews.stylize(body), media_type="image/webp")

    @app.get("/api/jobs", summary="Jobs, newest first")
    def get_jobs(limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> list[dict[str, Any]]:
        return [jobs.describe(job) for job in store.jobs(limit)]

    @app.get("/api/jobs/{id}", summary="One job with its pictures")
    def get_job(id: Id) -> dict[str, Any]:
        job = job_of(id)
        pictures = store.pictures(job=id, limit=1000)
        return jobs.describe(job) | {"pictures": [dataclasses.asdict(picture) for picture in reversed(pictures)]}

    @app.delete("/api/jobs/{id}", summary="Cancel a job; its finished pictures are kept", status_code=202)
    def cancel_job(id: Id) -> dict[str, bool]:
        job_of(id)
        return {"cancelled": jobs.cancel(id)}

    @app.get("/api/events", summary="Stream of changes: jobs and new pictures", response_class=EventSourceResponse)
    async def events(request: Request) -> AsyncIterator[ServerSentEvent]:
        listener = jobs.listen()
        try:
            yield ServerSentEvent(event="hello", data={"version": __version__})
            idle = 0.0
            while not await request.is_disconnected():
                try:
                    event = listener.get_nowait()
                except queue.Empty:
                    await asyncio.sleep(0.1)
                    idle += 0.1
                    if idle >= PING_SECONDS:
                        idle = 0.0
                        yield ServerSentEvent(comment="ping")
                    continue
                idle = 0.0
                yield ServerSentEvent(event=event["type"], data=event)
        finally:
            jobs.unlisten(listener)

    # Gallery

    @app.get("/api/pictures", summary="All pictures and clips, newest first")
    def get_pictures(
        before: Annotated[float, Query(ge=0, allow_inf_nan=False)] = 1e18,
        limit: Annotated[int, Query(ge=1, le=500)] = 60,
        favourite: bool = False,
        label: Annotated[str, Query(max_length=100)] = "",
    ) -> list[dict[str, Any]]:
        pictures = store.pictures(before=before, limit=limit, favourite=favourite, label=label)
        return [dataclasses.asdict(picture) for picture in pictures]

    @app.get("/api/pictures/{id}/file", summary="The file of a picture or clip", response_class=FileResponse)
    def get_file(id: Id) -> FileResponse:
        return FileResponse(folder / "pictures" / picture_of(id).file)

    @app.get("/api/pictures/{id}/small", summary="Thumbnail of a picture", response_class=Response)
    def get_small(id: Id) -> Response:
        picture = picture_of(id)
        if not picture.file.endswith(".png"):
            raise HTTPException(404, "a clip has no thumbnail")
        return Response(_thumbnail(folder / "pictures" / picture.file), media_type="image/webp")

    @app.get("/api/pictures/{id}/recipe", summary="Recipe of a picture")
    def get_recipe(id: Id) -> dict[str, Any]:
        return json.loads(read_recipe(folder / "pictures" / picture_of(id).file).to_json())

    @app.patch("/api/pictures/{id}", summary="Mark or unmark a picture as a favourite", status_code=204)
    def change_picture(id: Id, body: PictureChange) -> None:
        picture_of(id)
        store.set_favourite(id, body.favourite)

    @app.delete("/api/pictures/{id}", summary="Delete a picture", status_code=204)
    def delete_picture(id: Id) -> None:
        workshop.remove_picture(picture_of(id))

    @app.post("/api/pictures/zip", summary="A .zip of the selected pictures", response_class=Response)
    def download(body: Selection) -> Response:
        files = [folder / "pictures" / picture_of(id).file for id in body.pictures]
        archive_bytes = io.BytesIO()
        with zipfile.ZipFile(archive_bytes, "w", zipfile.ZIP_STORED) as archive:
            for file in files:
                archive.write(file, file.name)
        headers = {"Content-Disposition": 'attachment; filename="impasto.zip"'}
        return Response(archive_bytes.getvalue(), media_type="application/zip", headers=headers)

    @app.post(
        "/api/pictures/{id}/source", summary="Copy a picture to the uploads, to use it as a source", status_code=201
    )
    def as_source(id: Id) -> dict[str, Any]:
        picture = picture_of(id)
        with (folder / "pictures" / picture.file).open("rb") as stream:
            kind, stored = receive(stream, picture.file, folder / "uploads")
        upload = store.add_upload(kind, picture.file, stored)
        return {"id": upload.id, "kind": upload.kind, "name": upload.name}

    @app.get("/docs", include_in_schema=False)
    def get_docs() -> FileResponse:
        return FileResponse(STATIC / "docs.html")

    app.mount("/", StaticFiles(directory=STATIC, html=True), name="page")
    return app


def _recipe_in(file: Path) -> dict[str, Any] | None:
    """The recipe in a picture; None if it has none."""
    try:
        return json.loads(read_recipe(file).to_json())
    except ImpastoError:
        return None


def _thumbnail(file: Path) -> bytes:
    with Image.open(file) as image:
        image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
        small = io.BytesIO()
        image.convert("RGBA" if image.has_transparency_data else "RGB").save(small, "WEBP", quality=90)
    return small.getvalue()
