#!/bin/bash
# flask-jwt-extended 4.7.4 refuses a valid token if the scheme is written `bearer`.
#
# RFC 9110 section 11.1: the name of a scheme is case-insensitive. The setting JWT_HEADER_TYPE is compared exactly, so the answer
# is a 401 as for a missing scheme. FastAPI, keycloak-connect and docker-registry accept both spellings.
#
# Where it touches us: authorization servers may send `"token_type": "bearer"`. The layer always writes `Bearer`, and
# `docs/servers.md` names the servers for which `scheme("bearer")` does not work.
# Needs python3 with venv. Output seen:
#   Bearer: 200
#   bearer: 401 Missing 'Bearer' type in 'Authorization' header. Expected 'Authorization: Bearer <JWT>'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check flask-jwt-extended==4.7.4 Flask==3.1.3 PyJWT==2.15.1
cat >finding.py <<'PYTHON'
from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token, jwt_required

app = Flask(__name__)
app.config["JWT_SECRET_KEY"] = "a secret of at least thirty-two bytes"
JWTManager(app)


@app.get("/")
@jwt_required()
def root():
    return {}


with app.app_context():
    token = create_access_token("alice")
for scheme in ["Bearer", "bearer"]:
    answer = app.test_client().get("/", headers={"Authorization": f"{scheme} {token}"})
    print(f"{scheme}:", answer.status_code, *answer.json.values())
PYTHON
seen=$(venv/bin/python finding.py)
echo "$seen"
[ "$seen" = "Bearer: 200
bearer: 401 Missing 'Bearer' type in 'Authorization' header. Expected 'Authorization: Bearer <JWT>'" ]
