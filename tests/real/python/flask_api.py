# flask-jwt-extended: `jwt_required()`, as its documentation shows.
import os

from flask import Flask, jsonify
from flask_jwt_extended import JWTManager, get_jwt, jwt_required

app = Flask(__name__)
app.config["JWT_ALGORITHM"] = "RS256"
app.config["JWT_DECODE_AUDIENCE"] = "api"
with open(os.environ["API_PUBLIC_KEY_FILE"]) as file:
    app.config["JWT_PUBLIC_KEY"] = file.read()
JWTManager(app)


@app.get("/up")
def up():
    return "ok"


@app.get("/items")
@jwt_required()
def items():
    return jsonify(ok=True)


@app.get("/fresh")
@jwt_required(fresh=True)
def fresh():
    return jsonify(ok=True)


@app.get("/admin")
@jwt_required()
def admin():
    if get_jwt().get("role") != "admin":
        return jsonify(msg="Admins only!"), 403
    return jsonify(ok=True)
