# Authlib's authorization server on Flask, with its models in memory. A refresh token can be used once, and its access token ends
# with it. /items accepts the tokens.
import os
import time

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from flask import Flask, jsonify

app = Flask(__name__)
app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True


class Client(ClientMixin):
    def __init__(self, client_id, secret):
        self.client_id, self.secret = client_id, secret

    def get_client_id(self):
        return self.client_id

    def get_default_redirect_uri(self):
        return None

    def get_allowed_scope(self, scope):
        return " ".join(name for name in (scope or "").split() if name in ["read", "write"])

    def check_client_secret(self, secret):
        return secret == self.secret

    def check_endpoint_auth_method(self, method, endpoint):
        return method in ["client_secret_basic", "client_secret_post"]

    def check_grant_type(self, grant_type):
        return True


class Token(TokenMixin):
    def __init__(self, token, client, user):
        self.token, self.client, self.user = token, client, user
        self.issued, self.revoked = time.time(), False

    def check_client(self, client):
        return client is self.client

    def get_client(self):
        return self.client

    def get_user(self):
        return self.user

    def get_scope(self):
        return self.token.get("scope", "")

    def get_expires_in(self):
        return self.token["expires_in"]

    def is_expired(self):
        return time.time() > self.issued + self.get_expires_in()

    def is_revoked(self):
        return self.revoked


env = os.environ
clients = {
    env[f"{name}_CLIENT_ID"]: Client(env[f"{name}_CLIENT_ID"], env[f"{name}_CLIENT_SECRET"])
    for name in ["REAL", "REAL_WEIRD"]
}
tokens = []


def find(kind, value):
    return next((token for token in tokens if token.token.get(kind) == value), None)


class Password(grants.ResourceOwnerPasswordCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

    def authenticate_user(self, username, password):
        return username if (username, password) == (env["REAL_USERNAME"], env["REAL_PASSWORD"]) else None


class Refresh(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token):
        token = find("refresh_token", refresh_token)
        return token if token and not token.revoked else None

    def authenticate_user(self, token):
        return token.user

    def revoke_old_credential(self, token):
        token.revoked = True


class ClientCredentials(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]


class Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

    def query_token(self, value, hint):
        return find("access_token", value) or find("refresh_token", value)

    def revoke_token(self, token, request):
        token.revoked = True


class Validator(BearerTokenValidator):
    def authenticate_token(self, value):
        return find("access_token", value)


server = AuthorizationServer(
    app,
    query_client=clients.get,
    save_token=lambda token, request: tokens.append(Token(token, request.client, request.user)),
)
for grant in [Password, Refresh, ClientCredentials]:
    server.register_grant(grant)
server.register_endpoint(Revocation)
protected = ResourceProtector()
protected.register_token_validator(Validator())


@app.get("/up")
def up():
    return "ok"


@app.post("/oauth/token")
def issue():
    return server.create_token_response()


@app.post("/oauth/revoke")
def revoke():
    return server.create_endpoint_response("revocation")


@app.get("/items")
@protected()
def items():
    return jsonify(ok=True)
