"""The page's server: one static page, and the few questions that it asks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Body, FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from lit_ae.explore.guard import App, Guard
from lit_ae.explore.space import NoPictureError, Space

STATIC = Path(__file__).parent / "static"
UPLOAD, QUESTION = 8_000_000, 1_000_000  # bytes of a body
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]


class Point(BaseModel):
    """A point of latent space.

    Args:
        z: Its latents, (D,).
        condition: Number of the class that it is decoded as, where the model wants one.
    """

    z: list[Number]
    condition: int | None = None


class Morph(BaseModel):
    """A walk from one point of latent space to another.

    Args:
        a: Where it starts, (D,).
        b: Where it ends, (D,).
        steps: Number of pictures.
        way: Along the line, or along the arc about the origin.
        condition: Number of the class that the points are decoded as, where the model wants one.
    """

    a: list[Number]
    b: list[Number]
    steps: Annotated[int, Field(ge=2, le=64)] = 21
    way: Literal["linear", "spherical"] = "linear"
    condition: int | None = None


def build(space: Space, host: str = "127.0.0.1") -> App:
    """The page's app, guarded.

    Args:
        space: The latent space that it shows.
        host: The address that the server listens on.
    """
    app = FastAPI(title="lit_ae explore", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(RequestValidationError)
    def misunderstood(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]  # not its input, which may hold what no JSON can
        where = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse({"detail": f"{where or 'The question'}: {first['msg']}."}, 422)

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    described = space.describe()

    def latents(z: list[float]) -> np.ndarray:
        if len(z) != space.dim:
            raise HTTPException(422, f"A point has {space.dim} latents, not {len(z)}.")
        return np.asarray(z, dtype=np.float32)

    def condition(number: int | None) -> int | None:
        if number is not None and not 0 <= number < max(len(described["conditions"]), 1):
            raise HTTPException(422, f"There is no class {number}.")
        return number

    def shown(x: np.ndarray, mask: np.ndarray | None = None) -> Response:
        if space.picture:
            return Response(space.png(x), media_type="image/png")
        return JSONResponse({"values": space.values(x, mask)})

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/api/map")
    def whole() -> dict[str, Any]:
        return described

    @app.get("/api/sample/{number}")
    def sample(number: int) -> Response:
        return shown(*space.sample(inside(number)))

    @app.get("/api/latents/{number}")
    def latents_of(number: int) -> dict[str, Any]:
        return {"z": space.z[inside(number)].tolist()}

    def inside(number: int) -> int:
        if not 0 <= number < len(space.z):
            raise HTTPException(404, f"There is no sample {number}.")
        return number

    @app.post("/api/decode")
    def decode(point: Annotated[Point, Body()]) -> Response:
        return shown(space.decode(latents(point.z)[None], condition(point.condition))[0])

    @app.post("/api/morph")
    def morph(asked: Annotated[Morph, Body()]) -> dict[str, Any]:
        walked = space.walk(latents(asked.a), latents(asked.b), asked.steps, asked.way)
        made = space.decode(walked, condition(asked.condition))
        kept = {"points": space.project(walked).tolist()}
        return kept | {"frames": [space.link(x) if space.picture else space.values(x) for x in made]}

    @app.post("/api/encode")
    async def encode(
        request: Request, number: Annotated[int | None, Query(alias="condition")] = None, invert: bool = False
    ) -> dict[str, Any]:
        if not space.picture:
            raise HTTPException(415, "The data of this run are no pictures: there is none to encode.")
        body = await request.body()  # the guard has bounded it
        try:
            z, x, made = await run_in_threadpool(space.encode, body, condition(number), invert)
        except NoPictureError as error:
            raise HTTPException(415, str(error)) from error
        at = space.project(z[None])[0].tolist()
        return {"z": z.tolist(), "at": at, "seen": space.link(x), "reconstruction": space.link(made)}

    return Guard(app, host, {"/api/encode": UPLOAD, "/api/decode": QUESTION})
