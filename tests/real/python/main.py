# Serves the three frameworks, each on its own port: FastAPI with uvicorn, Flask and Django with waitress.
import os
import threading
from urllib.parse import urlsplit

import uvicorn
import waitress

import django_api
import fastapi_api
import flask_api


def port(name):
    return urlsplit(os.environ[name]).port


for app, name in [(flask_api.app, "FLASK_URL"), (django_api.app, "DJANGO_URL")]:
    settings = {"listen": f"127.0.0.1:{port(name)}", "threads": 4}
    threading.Thread(target=waitress.serve, args=[app], kwargs=settings, daemon=True).start()
uvicorn.run(fastapi_api.app, host="127.0.0.1", port=port("FASTAPI_URL"), log_level="warning")
