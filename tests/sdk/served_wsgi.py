"""The WSGI app that test_servers.py runs under gunicorn: /predict is observed, /metrics answers for all workers."""

import os

import ninesight

metrics = ninesight.metrics_wsgi_app()


@ninesight.observe(model="served")
def predict():
    return str(os.getpid()).encode()


def app(environ, start_response):
    if environ["PATH_INFO"] == "/metrics":
        return metrics(environ, start_response)
    body = predict()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
