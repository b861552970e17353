# django-oauth-toolkit, with its default settings, and its token check for Django REST framework at /items.
import os
import pathlib

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import include, path

settings.configure(
    SECRET_KEY="only for tests, and at least fifty characters long, as Django wants",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider", "rest_framework"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": pathlib.Path(__file__).with_name("issuer.sqlite3"),
        }
    },
    # The default hasher takes most of a second.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
)
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from oauth2_provider.contrib.rest_framework import OAuth2Authentication
from oauth2_provider.models import Application
from rest_framework.permissions import BasePermission
from rest_framework.response import Response
from rest_framework.views import APIView

call_command("migrate", verbosity=0)
user = User.objects.create_user(os.environ["REAL_USERNAME"], password=os.environ["REAL_PASSWORD"])
for name, grant, suffix in [
    ("REAL", Application.GRANT_PASSWORD, ""),
    ("REAL", Application.GRANT_CLIENT_CREDENTIALS, "-service"),
    ("REAL_WEIRD", Application.GRANT_PASSWORD, ""),
]:
    Application.objects.create(
        client_id=os.environ[f"{name}_CLIENT_ID"] + suffix,
        client_secret=os.environ[f"{name}_CLIENT_SECRET"],
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=grant,
        user=user,
    )


class HasToken(BasePermission):
    def has_permission(self, request, view):
        return request.auth is not None


class Items(APIView):
    authentication_classes = [OAuth2Authentication]
    permission_classes = [HasToken]

    def get(self, request):
        return Response({"ok": True})


urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("items", Items.as_view()),
    path("up", lambda request: HttpResponse("ok")),
]
app = get_wsgi_application()
