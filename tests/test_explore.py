"""The page of `lit_ae explore`: what it answers, and whom."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from conftest import Console
from lit_ae.errors import ConfigError, StorageError
from lit_ae.explore import app as served
from lit_ae.explore.guard import Guard, name_of
from lit_ae.explore.space import Space
from lit_ae.jobs.explore import listening
from lit_ae.jobs.opening import opened
from lit_ae.jobs.walks import arc, line

BASE = "http://127.0.0.1:8000"


def client_of(space: Space, host: str = "127.0.0.1", base: str = BASE) -> TestClient:
    return TestClient(served.build(space, host), base_url=base)


@pytest.fixture(scope="module")
def space(trained: Path) -> Space:
    return Space(opened(trained), n=50)


@pytest.fixture
def page(space: Space) -> TestClient:
    return client_of(space)


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


def picture(size: tuple[int, int] = (20, 30), kind: str = "PNG", mode: str = "RGB") -> bytes:
    sink = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(sink, kind)
    return sink.getvalue()


def test_the_map_lifts_to_the_latents_it_shows(page: TestClient, space: Space) -> None:
    found = page.get("/api/map").json()
    assert (found["kind"], found["shape"], found["dim"]) == ("picture", [1, 8, 8], space.dim)
    assert len(found["points"]) == len(found["groups"]) == 50
    assert [each["name"] for each in found["classes"]] == [str(i) for i in range(10)]
    assert len({each["colour"] for each in found["classes"]}) == 10
    mean, axes, points = (np.array(found[name]) for name in ("mean", "axes", "points"))
    lifted = mean + points @ axes
    np.testing.assert_allclose((lifted - mean) @ axes.T, points, atol=1e-4)
    assert np.square(space.z - lifted).sum() < np.square(space.z - space.z.mean(0)).sum()
    for slider in found["sliders"]:
        column = space.z[:, slider["dim"]]
        assert slider["low"] <= column.min()
        assert column.max() <= slider["high"]
    z = page.get("/api/latents/3").json()["z"]
    np.testing.assert_allclose(z, space.z[3], rtol=1e-6)


def test_a_point_is_decoded_as_the_model_decodes_it(page: TestClient, space: Space) -> None:
    answer = page.post("/api/decode", json={"z": space.z[0].tolist()})
    assert answer.headers["content-type"] == "image/png"
    wanted = space.decode(space.z[:1])[0, 0].clip(0, 1)
    np.testing.assert_allclose(pixels(answer.content) / 255, wanted, atol=0.51 / 255)
    seen = page.get("/api/sample/0")
    np.testing.assert_allclose(pixels(seen.content) / 255, space.data.x[0, 0], atol=0.51 / 255)


def test_a_morph_starts_and_ends_where_it_is_told(page: TestClient, space: Space) -> None:
    ends = {"a": space.z[0].tolist(), "b": space.z[1].tolist(), "steps": 5}
    for way, walk in {"linear": line, "spherical": arc}.items():
        found = page.post("/api/morph", json={**ends, "way": way}).json()
        walked = walk(*torch.from_numpy(space.z[:2]), 5)
        np.testing.assert_allclose(found["points"], space.project(walked.numpy()), atol=1e-4)
        assert len(found["frames"]) == len(found["points"]) == 5
        assert found["frames"][0] == space.link(space.decode(space.z[:1])[0])
        np.testing.assert_allclose([found["points"][0], found["points"][-1]], space.points[:2], atol=1e-4)


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("JPEG", "RGB"), ("WEBP", "RGB"), ("GIF", "P")])
def test_an_upload_is_encoded(kind: str, mode: str, page: TestClient, space: Space) -> None:
    found = page.post("/api/encode", content=picture(kind=kind, mode=mode)).json()
    assert len(found["z"]) == space.dim
    np.testing.assert_allclose(space.project(np.array([found["z"]]))[0], found["at"], atol=1e-4)
    assert found["seen"].startswith("data:image/png;base64,")
    assert found["reconstruction"] != found["seen"]


def test_sixteen_bits_of_grey_are_scaled_and_not_clipped(space: Space) -> None:
    sink = io.BytesIO()
    Image.fromarray(np.full((8, 8), 128 * 257, np.uint16)).save(sink, "PNG")
    np.testing.assert_allclose(space.opened(sink.getvalue(), False), 128 / 255, atol=1e-6)


def test_the_samples_own_picture_lands_where_the_sample_lies(page: TestClient, space: Space) -> None:
    own = page.get("/api/sample/4").content
    found = page.post("/api/encode", content=own).json()
    np.testing.assert_allclose(found["z"], space.z[4], atol=0.05)
    inverted = page.post("/api/encode?invert=true", content=own).json()
    assert np.abs(np.array(inverted["z"]) - space.z[4]).max() > 0.05


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture", picture()[:100], b"GIF89a" + bytes(20), b"%PDF-1.7", b"<svg/>"],
    ids=["empty", "text", "cut", "gif", "pdf", "svg"],  # names of their own: what is drawn differs between processes
)
def test_what_is_no_picture_is_refused(content: bytes, page: TestClient) -> None:
    answer = page.post("/api/encode", content=content)
    assert answer.status_code == 415
    assert "no picture" in answer.json()["detail"]


def test_a_huge_picture_in_few_bytes_is_refused(page: TestClient) -> None:
    sink = io.BytesIO()
    Image.new("1", (10_000, 5_001)).save(sink, "PNG")
    bomb = sink.getvalue()
    assert len(bomb) < served.UPLOAD
    assert page.post("/api/encode", content=bomb).status_code == 415
    sink = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(sink, "PNG")  # which Pillow itself refuses
    assert "make it smaller" in page.post("/api/encode", content=sink.getvalue()).json()["detail"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.168.0.7", ""])
def test_other_hosts_are_refused(host: str, page: TestClient) -> None:
    for path in ("/", "/api/map", "/static/app.js"):
        answer = page.get(path, headers={"host": host})
        assert answer.status_code == 403
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["localhost:9000", "[::1]:8000", "127.0.0.1"])
def test_this_machine_is_answered_at_any_port(host: str, page: TestClient) -> None:
    assert page.get("/api/map", headers={"host": host}).status_code == 200


def test_other_origins_are_refused(page: TestClient, space: Space) -> None:
    point = {"z": space.z[0].tolist()}
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8000"):
        assert page.post("/api/decode", json=point, headers={"origin": origin}).status_code == 403
    assert page.post("/api/decode", json=point, headers={"origin": BASE}).status_code == 200
    for site in ("cross-site", "same-site"):
        assert page.get("/api/sample/0", headers={"sec-fetch-site": site}).status_code == 403
    assert page.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200  # a link to the page


def test_on_all_addresses_numbers_are_answered_and_names_are_not(space: Space) -> None:
    page = client_of(space, "0.0.0.0")
    assert page.get("/api/map", headers={"host": "192.168.0.7:8000"}).status_code == 200
    assert page.get("/api/map", headers={"host": "evil.example:8000"}).status_code == 403
    assert client_of(space, "box.local").get("/api/map", headers={"host": "box.local:8000"}).status_code == 200


@pytest.mark.parametrize(("path", "limit"), [("/api/encode", served.UPLOAD), ("/api/decode", served.QUESTION)])
def test_long_bodies_are_refused(path: str, limit: int, page: TestClient) -> None:
    answer = page.post(path, content=bytes(limit + 1))
    assert answer.status_code == 413
    assert f"{limit:,} bytes" in answer.json()["detail"]
    assert page.post("/api/morph", content=bytes(served.QUESTION + 1)).status_code == 413


def test_a_body_without_an_end_is_refused() -> None:
    import asyncio

    read, sent = 0, []

    async def receive() -> dict[str, object]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": bytes(100), "more_body": True}  # without end

    async def send(message: object) -> None:
        sent.append(message)

    async def never(*_: object) -> None:
        raise AssertionError("the app was reached")

    scope = {"type": "http", "path": "/api/encode", "headers": [(b"host", b"localhost:1")]}
    asyncio.run(Guard(never, "127.0.0.1", {"/api/encode": 1000})(scope, receive, send))
    assert sent[0]["status"] == 413
    assert read == 81  # eight times the limit, of which none is kept


@pytest.mark.parametrize(
    ("path", "question", "status"),
    [
        ("/api/decode", {"z": [0.0]}, 422),
        ("/api/decode", {"z": []}, 422),
        ("/api/decode", {"z": [1e30] * 16}, 422),
        ("/api/decode", {"z": [0.0] * 16, "condition": 4}, 422),
        ("/api/morph", {"a": [0.0] * 16, "b": [0.0] * 16, "steps": 10**6}, 422),
        ("/api/morph", {"a": [0.0] * 16, "b": [0.0] * 3}, 422),
    ],
)
def test_points_that_do_not_fit_are_refused(path: str, question: object, status: int, page: TestClient) -> None:
    assert page.post(path, json=question).status_code == status


def test_numbers_that_are_none_are_refused(page: TestClient, space: Space) -> None:
    nan = f'{{"z": [NaN{", 0" * (space.dim - 1)}]}}'
    answer = page.post("/api/decode", content=nan, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert page.get("/api/sample/50").status_code == page.get("/api/latents/-1").status_code == 404


def test_static_files_are_ours_alone_and_headers_are_strict(page: TestClient) -> None:
    answer = page.get("/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    for name in ("app.js", "common.js", "map.js", "samples.js", "style.css", "icon.svg"):
        text = page.get(f"/static/{name}").text
        assert not [line for line in text.splitlines() if "http" in line and "www.w3.org" not in line]
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/docs", "/openapi.json"):
        assert page.get(path).status_code == 404


@pytest.mark.parametrize("name", ["cvae", "vq", "plane", "categorical"])
def test_conditions_grids_and_points_have_a_map(name: str, trained_runs: Path) -> None:
    space = Space(opened(trained_runs / name / "0"), n=20)
    page = client_of(space)
    found = page.get("/api/map").json()
    assert len(found["sliders"]) == min(space.dim, 32)
    asked = {"z": space.z[0].tolist()}
    answer = page.post("/api/decode", json=asked)
    if name == "plane":
        assert found["kind"] == "bars"
        assert np.shape(answer.json()["values"]) == (2,)
        x = space.unscaled(space.data.x.numpy())
        np.testing.assert_allclose(found["ranges"], np.stack([x.min(0), x.max(0)], 1), rtol=1e-5)
        assert space.values(x[0], np.array([True, False]))[1] is None  # what is not observed is no number
        assert page.post("/api/encode", content=picture()).status_code == 415
    if name == "cvae":
        assert found["conditions"] == [str(i) for i in range(10)]
        made = [page.post("/api/decode", json={**asked, "condition": c}).content for c in (0, 1)]
        assert made[0] != made[1]
        assert page.post("/api/encode?condition=3", content=picture()).status_code == 200
        assert page.post("/api/encode?condition=10", content=picture()).status_code == 422


@pytest.mark.parametrize(
    ("host", "name"),
    [("a.b:80", "a.b"), ("a.b", "a.b"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("", ""), ("a@b:1", "a@b")],
)
def test_names_in_host_headers(host: str, name: str) -> None:
    assert name_of(host) == name


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_bad_arguments_are_one_sentence(taken: int, trained: Path, lit_ae: Console) -> None:
    done = lit_ae("explore", str(trained), "--port", str(taken))
    assert done.status == 6
    assert f"Cannot listen on port {taken}" in done.err
    assert "choose another --port" in done.err
    assert lit_ae("explore", str(trained), "--port", "70000").status == 2
    assert lit_ae("explore", str(trained), "--port", "x").status == 2
    assert lit_ae("explore", "nowhere", "--port", "0").status == 4
    assert lit_ae("explore", "--help").status == 0
    with pytest.raises(ConfigError, match="There is no address"):
        listening("no such host", 0)
    with pytest.raises(StorageError, match="choose another --host"):
        listening("203.0.113.1", 0)


def test_missing_packages_are_named(trained: Path, lit_ae: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_ae.jobs.explore.NEEDED", ("no_such_package",))
    done = lit_ae("explore", str(trained))
    assert done.status == 2
    assert 'pip install "lit_ae[explore]"' in done.err
