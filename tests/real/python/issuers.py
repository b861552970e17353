# Serves the two authorization servers, each on its own port.
import os
import threading
from urllib.parse import urlsplit

import waitress

import authlib_issuer
import django_issuer


def serve(app, name):
    waitress.serve(app, listen=f"127.0.0.1:{urlsplit(os.environ[name]).port}", threads=4)


threading.Thread(target=serve, args=[authlib_issuer.app, "AUTHLIB_URL"], daemon=True).start()
serve(django_issuer.app, "DJANGO_OAUTH_TOOLKIT_URL")
