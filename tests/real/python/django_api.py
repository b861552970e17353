# Django REST framework with simplejwt. Below /token-first the token's class is the only one. Below /session-first
# `SessionAuthentication` is listed before it, and then each answer to a token that is not accepted is 403.
import os
import pathlib

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

with open(os.environ["API_PUBLIC_KEY_FILE"]) as file:
    public_key = file.read()
settings.configure(
    SECRET_KEY="only for tests, and at least fifty characters long, as Django wants",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": pathlib.Path(__file__).with_name("django.sqlite3"),
        }
    },
    SIMPLE_JWT={"ALGORITHM": "RS256", "VERIFYING_KEY": public_key, "AUDIENCE": "api"},
)
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAdminUser, IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTAuthentication

call_command("migrate", verbosity=0)
User.objects.create(id=1, username="alice")


class Items(APIView):
    authentication_classes = [JWTAuthentication]
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"user": request.user.username})


class Admin(Items):
    permission_classes = [IsAdminUser]


class SessionFirst:
    authentication_classes = [SessionAuthentication, JWTAuthentication]


class SessionFirstItems(SessionFirst, Items):
    pass


class SessionFirstAdmin(SessionFirst, Admin):
    pass


urlpatterns = [
    path("up", lambda request: HttpResponse("ok")),
    path("token-first/items", Items.as_view()),
    path("token-first/admin", Admin.as_view()),
    path("session-first/items", SessionFirstItems.as_view()),
    path("session-first/admin", SessionFirstAdmin.as_view()),
]
app = get_wsgi_application()
