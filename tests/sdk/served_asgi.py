"""The ASGI app that test_servers.py runs under uvicorn: /predict is observed, /metrics answers for all workers."""

import os

import ninesight

metrics = ninesight.metrics_app()


@ninesight.observe(model="served")
async def predict():
    return str(os.getpid()).encode()


async def app(scope, receive, send):
    if scope["type"] != "http" or scope["path"] == "/metrics":
        await metrics(scope, receive, send)
        return
    body = await predict()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})
