"""The REST interface of the studio: jobs, uploads and their limits, the gallery, access control."""

import dataclasses
import io
import json
import math
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from images import noise
from impasto.built_in import built_in_models
from impasto.config import FuseConfig, StylizeConfig, flat
from impasto.model.impasto import load_model, save_model
from impasto.training import plan
from impasto.web import preview, uploads
from impasto.web import queue as queues
from impasto.web.app import create_app
from impasto.web.requests import FuseRequest, Reference, StylizeRequest
from impasto.web.settings import describe_settings
from impasto.web.store import State, Store

SETTINGS = {"sampling": {"steps": 2}}
FAST = {"model": "emoji", "settings": SETTINGS}


@pytest.fixture
def models(run: Path) -> Path:
    """A folder of models with one of random weights."""
    folder = Path("runs")
    folder.mkdir()
    run.rename(folder / "emoji")
    return folder


@pytest.fixture
def client(models: Path) -> Iterator[TestClient]:
    """A client on the same machine."""
    with TestClient(create_app(Path("studio"), models, device="cpu"), base_url="http://127.0.0.1:7860") as client:
        yield client


def png(seed: int = 0, size: tuple[int, int] = (40, 40), mode: str = "RGBA") -> bytes:
    """A picture file."""
    data = io.BytesIO()
    noise(*size, seed=seed, mode=mode).save(data, "PNG")
    return data.getvalue()


def seeded(seed: int) -> dict[str, object]:
    """Settings of a fast job with this seed."""
    return {"sampling": {"steps": 2, "seed": seed}}


def archive(count: int = 6) -> bytes:
    """A .zip of pictures in two folders."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        for number in range(count):
            packed.writestr(f"{'ab'[number % 2]}/{number}.png", png(number))
    return data.getvalue()


def upload(client: TestClient, content: bytes, name: str = "mine.png") -> str:
    """Upload a file; returns the id."""
    answer = client.post("/api/uploads", files={"file": (name, content)})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def finished(client: TestClient, body: dict[str, object], seconds: float = 60) -> dict:
    """Queue a job and wait until it ends."""
    answer = client.post("/api/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return ended(client, answer.json()["id"], seconds)


def ended(client: TestClient, id: str, seconds: float = 60) -> dict:
    """Wait until a job ends."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        job = client.get(f"/api/jobs/{id}").json()
        if State(job["state"]).is_over:
            return job
        time.sleep(0.02)
    raise AssertionError(f"job did not end: {job}")


def test_pictures_are_generated_stored_and_searched(client: TestClient) -> None:
    assert client.get("/api/models").json() == [{"name": name} for name in ("emoji", *built_in_models())]
    model = client.get("/api/models/emoji").json()
    assert model["collections"] == ["a", "b"] and model["resolution"] == 32 and not model["reads_text"]
    assert (
        not model["decoder_only_stylization"] and client.get("/api/models/painter").json()["decoder_only_stylization"]
    )
    style = [{"kind": "collection", "source": "a", "weight": 1}]
    job = finished(client, {"kind": "generate", "count": 3, "style": style, **FAST, "settings": seeded(5)})
    assert job["state"] == "done" and len(job["pictures"]) == 3 and job["done"] == job["total"] > 0
    first = job["pictures"][0]["id"]
    with Image.open(io.BytesIO(client.get(f"/api/pictures/{first}/file").content)) as picture:
        assert picture.size == (32, 32)
    recipe = client.get(f"/api/pictures/{first}/recipe").json()
    assert recipe["settings"]["sampling"]["seed"] == 5 and recipe["settings"]["style"] == ["a:1"]
    assert client.get(f"/api/pictures/{first}/small").headers["content-type"] == "image/webp"
    assert client.patch(f"/api/pictures/{first}", json={"favourite": True}).status_code == 204
    assert [p["id"] for p in client.get("/api/pictures?favourite=true").json()] == [first]
    assert len(client.get("/api/pictures?label=generate").json()) == 3
    assert client.get("/api/pictures?label=nothing").json() == []
    ids = [picture["id"] for picture in job["pictures"]]
    packed = client.post("/api/pictures/zip", json={"pictures": ids}).content
    assert len(zipfile.ZipFile(io.BytesIO(packed)).namelist()) == 3
    assert client.delete(f"/api/pictures/{first}").status_code == 204
    assert client.get(f"/api/pictures/{first}/file").status_code == 404
    assert len(list(Path("studio/pictures").iterdir())) == 2


def test_three_pictures_are_fused(client: TestClient) -> None:
    ids = [upload(client, png(seed)) for seed in range(3)]
    sources = [{"source": id, name: 1} for id, name in zip(ids, ("pixel", "orientation", "texture"), strict=True)]
    job = finished(client, {"kind": "fuse", "count": 2, "sources": sources, **FAST})
    assert job["state"] == "done" and len(job["pictures"]) == 2 and job["pictures"][0]["width"] == 40
    nothing = [{"source": ids[0]}]
    failed = finished(client, {"kind": "fuse", "sources": nothing, **FAST})
    assert failed["state"] == "failed" and "nothing to fuse" in failed["message"]
    used = client.post(f"/api/pictures/{job['pictures'][0]['id']}/source").json()
    assert client.get(f"/api/uploads/{used['id']}/picture").status_code == 200


def test_the_preview_follows_the_slider(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "MAX_SECONDS", 60.0)
    source = upload(client, png(1, (100, 50)))
    body = {"model": "emoji", "source": source, "style": [{"kind": "collection", "source": "a"}]}
    shown = [
        client.post("/api/preview", json=body | {"settings": {"strength": strength}}) for strength in (0.1, 0.9, 0.1)
    ]
    assert [answer.headers["content-type"] for answer in shown] == ["image/webp"] * 3
    with Image.open(io.BytesIO(shown[0].content)) as picture:
        assert picture.size == (100, 50)
    assert shown[0].content == shown[2].content != shown[1].content
    gone = client.post("/api/preview", json=body | {"source": "0" * 32})
    assert gone.status_code == 422 and "there is no upload" in gone.json()["detail"]
    assert client.post("/api/preview", json=body | {"style": []}).status_code == 422
    monkeypatch.setattr(preview, "MAX_SECONDS", 0.0)
    sizes = [Image.open(io.BytesIO(client.post("/api/preview", json=body).content)).size for _ in range(6)]
    assert sizes == [(100, 50), (100, 50), (64, 32), (32, 16), (32, 16), (32, 16)], "smaller after slow previews"


def test_a_picture_and_an_archive_are_stylized_in_a_saved_style(client: TestClient) -> None:
    mine = upload(client, png(7))
    body = {"name": "my style", "model": "emoji", "style": [{"kind": "upload", "source": mine}]}
    assert client.post("/api/styles", json=body).status_code == 201
    assert client.get("/api/styles").json() == [{"name": "my style", "model": "emoji"}]
    style = [{"kind": "style", "source": "my style"}]
    one = finished(client, {"kind": "stylize", "source": upload(client, png(1, (50, 30))), "style": style, **FAST})
    assert one["state"] == "done" and (one["pictures"][0]["width"], one["pictures"][0]["height"]) == (50, 30)
    many = finished(client, {"kind": "stylize", "source": upload(client, archive(4), "x.zip"), "style": style, **FAST})
    assert many["state"] == "done" and len(many["pictures"]) == 4
    fine = finished(client, {"kind": "stylize", "source": mine, "style": style, **FAST, "settings": {"num_shifts": 4}})
    assert fine["state"] == "failed" and "num_shifts 4: along the flow" in fine["message"]
    assert client.delete("/api/styles/my style").status_code == 204
    gone = finished(client, {"kind": "stylize", "source": mine, "style": style, **FAST})
    assert gone["state"] == "failed" and "no saved style" in gone["message"]


@pytest.mark.slow
def test_a_model_is_trained_and_appears(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MIN_UPDATES", "MIN_UPDATES_OF_TRAINED"):
        monkeypatch.setattr(plan, name, -math.inf)  # this budget is for no real training
    id = upload(client, archive(), "mine.zip")
    audit = client.post(f"/api/uploads/{id}/audit?resolution=32").json()
    assert audit["images"] == 6 and "6" in audit["text"]
    body = {"kind": "train", "name": "mine", "source": id, "size": "tiny", "minutes": 0.05, "resolution": 32}
    answer = client.post("/api/jobs", json=body)
    assert answer.status_code == 202
    assert client.post("/api/jobs", json=body | {"name": "other"}).status_code == 409
    job = ended(client, answer.json()["id"], 120)
    assert job["state"] == "done", job["message"]
    assert {"name": "mine"} in client.get("/api/models").json()
    assert all("time" in line for line in client.get("/api/models/mine/log").json())
    sheets = client.get("/api/models/mine/previews").json()
    assert sheets and client.get(f"/api/models/mine/previews/{sheets[0]}").status_code == 200
    assert client.get("/api/models/mine/previews/..%2Fconfig.json").status_code == 404
    assert client.post("/api/jobs", json=body | {"name": "other", "finetune": "unknown"}).status_code == 422
    assert client.post("/api/jobs", json=body | {"name": "icons"}).status_code == 422
    job = finished(client, body | {"name": "other", "finetune": "mine"}, 120)
    assert job["state"] == "done", job["message"]
    assert client.get("/api/models/other").json()["collections"] == ["a", "b"]


def test_queued_and_running_jobs_can_be_cancelled(client: TestClient) -> None:
    body = {"kind": "generate", "count": 64, **FAST, "settings": {"sampling": {"steps": 200}}}
    first = client.post("/api/jobs", json=body).json()["id"]
    second = client.post("/api/jobs", json=body).json()
    assert second["position"] >= 1
    assert client.delete(f"/api/jobs/{second['id']}").json() == {"cancelled": True}
    assert client.get(f"/api/jobs/{second['id']}").json()["state"] == "cancelled"
    assert client.delete(f"/api/jobs/{first}").json() == {"cancelled": True}
    assert ended(client, first)["state"] == "cancelled"
    assert client.delete(f"/api/jobs/{first}").json() == {"cancelled": False}


def test_a_full_queue_answers_with_retry_after(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "MAX_QUEUED", 1)
    body = {"kind": "generate", "count": 64, **FAST, "settings": {"sampling": {"steps": 200}}}
    answers = [client.post("/api/jobs", json=body) for _ in range(4)]
    assert answers[-1].status_code == 429 and answers[-1].headers["Retry-After"] == "5"
    for answer in answers:
        if answer.status_code == 202:
            client.delete(f"/api/jobs/{answer.json()['id']}")


@pytest.mark.parametrize(
    ("name", "content", "status", "message"),
    [
        ("text.png", b"hello", 422, "text.png"),
        ("empty.png", b"", 422, "empty"),
        ("empty.zip", b"PK\x05\x06" + b"\0" * 18, 422, "empty.zip contains no picture"),
        ("noise.zip", b"no zip", 422, "not a .zip or .tar"),
        ("text.mp4", b"no clip", 422, "not a readable clip"),
        ("../../evil.png", b"", 422, "empty"),
    ],
)
def test_bad_uploads_leave_nothing_behind(
    client: TestClient, name: str, content: bytes, status: int, message: str
) -> None:
    answer = client.post("/api/uploads", files={"file": (name, content)})
    assert answer.status_code == status and message in answer.json()["detail"]
    assert list(Path("studio/uploads").iterdir()) == []


def test_large_uploads_and_bombs_are_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = io.BytesIO()
    Image.new("1", (10_000, 7_000)).save(bomb, "PNG")
    answer = client.post("/api/uploads", files={"file": ("bomb.png", bomb.getvalue())})
    assert answer.status_code == 422 and "64 million" in answer.json()["detail"]
    monkeypatch.setattr(uploads, "MAX_PICTURE_BYTES", 1000)
    answer = client.post("/api/uploads", files={"file": ("large.png", png(size=(200, 200)))})
    assert answer.status_code == 413
    assert list(Path("studio/uploads").iterdir()) == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "draw"},
        {"kind": "generate"},
        {"kind": "generate", "model": "../emoji"},
        {"kind": "generate", "model": "unknown"},
        {"kind": "generate", "model": "emoji", "steps": 2},
        {"kind": "generate", "model": "emoji", "settings": 3},
        {"kind": "generate", "model": "emoji", "settings": {"unknown": 1}},
        {"kind": "generate", "model": "emoji", "settings": {"sampling": {"unknown": 1}}},
        {"kind": "generate", "model": "emoji", "settings": {"sampling": {"steps": 0}}},
        {"kind": "generate", "model": "emoji", "settings": {"sampling": {"guidance": "much"}}},
        {"kind": "generate", "model": "emoji", "settings": {"prompt": {"negative_text": "x"}}},
        {"kind": "generate", "model": "emoji", "settings": {"style": ["/etc/passwd"]}},
        {"kind": "generate", "model": "emoji", "settings": {"output": {"palette": "/etc/passwd"}}},
        {"kind": "generate", "model": "emoji", "settings": {"output": {"palette": "4\n"}}},
        {"kind": "generate", "model": "emoji", "settings": {"width": 65}},
        {"kind": "generate", "model": "emoji", "unknown": 1},
        *(
            {"kind": "fuse", "model": "emoji", "sources": [{"source": "0" * 32}], "settings": {name: ["/etc/passwd"]}}
            for name in ("pixel", "orientation", "texture", "style")
        ),
        {"kind": "stylize", "model": "emoji", "source": "0" * 32, "style": [{"kind": "collection", "source": "a"}]},
        {"kind": "fuse", "model": "emoji", "sources": []},
        {"kind": "train", "name": "../x", "source": "0" * 32},
        *(
            {"kind": "train", "name": "x", "source": "0" * 32, **values}
            for values in ({"resolution": 65}, {"minutes": 0}, {"minutes": 1e9}, {"seed": -1}, {"init": "emoji"})
        ),
    ],
)
def test_invalid_bodies_are_refused(client: TestClient, body: dict[str, object]) -> None:
    answer = client.post("/api/jobs", json=body)
    assert answer.status_code == 422 and answer.json()["detail"]
    assert client.get("/api/jobs").json() == []


def test_a_path_is_not_a_collection(client: TestClient) -> None:
    Path("secret.png").write_bytes(png())
    style = [{"kind": "collection", "source": "secret.png"}]
    job = finished(client, {"kind": "generate", "style": style, **FAST})
    assert job["state"] == "failed" and "no collection 'secret.png'" in job["message"]


def test_missing_settings_have_the_defaults_of_the_job() -> None:
    style = [Reference(kind="collection", source="a")]
    settings = {"sampling": {"seed": 4}, "strength": 0.1}
    body = {"model": "emoji", "source": "0" * 32, "style": style, "settings": settings}
    assert StylizeRequest.model_validate(body).settings == flat(StylizeConfig, seed=4, strength=0.1)
    assert FuseRequest.model_validate({"model": "a", "sources": [{"source": "0" * 32}]}).settings == FuseConfig()
    schema = StylizeRequest.model_json_schema()["$defs"]
    assert schema["Sampling"]["properties"]["steps"]["maximum"] == 1000
    assert not schema["StylizeConfig"]["additionalProperties"] and not schema["Sampling"]["additionalProperties"]


def test_every_setting_is_described(client: TestClient) -> None:
    found = client.get("/api/settings").json()
    assert found == json.loads(json.dumps(describe_settings()))
    assert {row["path"]: row["default"] for row in found["stylize"]}["settings.sampling.guidance"] == 1
    assert found["train"] and client.get("/api/models/emoji").json()["fingerprint"]


def test_settings_that_do_nothing_are_refused(client: TestClient, models: Path) -> None:
    network, styles = load_model(models / "emoji/model.safetensors")
    network.config = dataclasses.replace(network.config, decoder_only_stylization=True)
    save_model(network, models / "emoji/model.safetensors", styles=styles)
    style = [{"kind": "collection", "source": "a"}]
    body = {"kind": "stylize", "model": "emoji", "source": upload(client, png()), "style": style}
    job = finished(client, body | {"settings": {"sampling": {"seed": 1}}})
    assert job["state"] == "failed" and "this model stylizes without the flow, so seed does nothing" in job["message"]
    preview = {key: value for key, value in body.items() if key != "kind"}
    answer = client.post("/api/preview", json=preview | {"settings": {"sampling": {"steps": 2}}})
    assert answer.status_code == 422 and "so steps does nothing" in answer.json()["detail"]
    assert client.post("/api/preview", json=preview).status_code == 200
    for more in ({"settings": {"temporal_smoothing": False}}, {"clip": "mp4"}):
        answer = client.post("/api/jobs", json=body | more)
        assert answer.status_code == 422 and "is not a clip" in answer.json()["detail"]
    assert finished(client, body)["state"] == "done"


def test_other_hosts_and_other_sites_are_refused(client: TestClient) -> None:
    assert client.get("/api/models", headers={"Host": "evil.example"}).status_code == 403
    assert client.post("/api/jobs", json={}, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.get("/api/models", headers={"Origin": "http://127.0.0.1:7860"}).status_code == 200
    page = client.get("/")
    assert page.status_code == 200 and "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert client.get("/docs").status_code == 200 and client.get("/openapi.json").status_code == 200


def test_large_bodies_are_refused_unread(client: TestClient) -> None:
    length = {"Content-Length": str(5 << 30)}
    assert client.post("/api/uploads", content=b"x", headers=length).status_code == 413
    assert client.post("/api/jobs", content=b"x" * (2 << 20)).status_code == 413
    chunked = (part for part in (b"{", b"}"))
    assert client.post("/api/jobs", content=chunked).status_code == 411


def test_an_exposed_studio_needs_its_token(models: Path) -> None:
    app = create_app(Path("studio"), models, token="right", device="cpu")
    with TestClient(app, base_url="http://studio.example:7860") as client:
        assert client.get("/api/models").status_code == 401
        assert client.get("/?token=wrong").status_code == 401
        assert client.get("/api/models", headers={"Authorization": "Bearer right"}).status_code == 200
        assert client.get("/?token=right", follow_redirects=False).status_code == 307
        assert client.get("/api/models").status_code == 200, "the cookie suffices"


def test_jobs_survive_a_restart(models: Path) -> None:
    store = Store(Path("studio/studio.sqlite"))
    request = {"kind": "generate", "count": 1, **FAST, "settings": seeded(1)}
    waiting, running = store.add_job("generate", request), store.add_job("generate", request)
    training = store.add_job("train", {"kind": "train", "name": "x", "source": "0" * 32})
    for job in (running, training):
        store.update_job(job.id, state=State.RUNNING, started=1.0)
    store.close()
    app = create_app(Path("studio"), models, device="cpu")
    with TestClient(app, base_url="http://127.0.0.1:7860") as client:
        assert ended(client, waiting.id)["state"] == "done" and ended(client, running.id)["state"] == "done"
        lost = client.get(f"/api/jobs/{training.id}").json()
        assert lost["state"] == "failed" and "restarted" in lost["message"]
        assert len(client.get("/api/pictures").json()) == 2


def test_changes_are_streamed(models: Path) -> None:
    """Over a real socket, as the test client cannot read an endless response."""
    import threading
    import urllib.request

    import uvicorn

    app = create_app(Path("studio"), models, device="cpu")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    try:
        with urllib.request.urlopen(f"{address}/api/events", timeout=30) as events:
            body = json.dumps({"kind": "generate", "count": 1, **FAST}).encode()
            request = urllib.request.Request(f"{address}/api/jobs", body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=30).close()
            seen = []
            for line in events:
                if line.startswith(b"event: "):
                    seen.append(line[7:].strip().decode())
                if line.startswith(b"data: ") and b'"state":"done"' in line.replace(b" ", b""):
                    break
    finally:
        server.should_exit = True
        thread.join(timeout=30)
    assert seen[0] == "hello" and "picture" in seen and seen.count("job") >= 3


def test_the_page_does_not_wait_for_torch() -> None:
    command = "import impasto.web.app, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], timeout=60).returncode == 0


def test_the_page_is_small_and_complete_in_both_languages() -> None:
    from impasto.web.app import STATIC

    assert sum(file.stat().st_size for file in STATIC.iterdir()) < 300_000
    words = (STATIC / "words.js").read_text(encoding="utf-8")
    english, chinese = words.split("zh: {", 1)
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    for name in {part.split('"')[0] for part in page.split('data-word="')[1:]}:
        assert f"{name}: " in english and f"{name}: " in chinese, name
    assert "http" not in page.replace("http-equiv", "")
