# FastAPI. Below /scopes: `SecurityScopes`, in the way of FastAPI's documentation, where 401 also means that a scope is missing.
# Below /jwt-bearer: the class `JWTBearer` that many tutorials have, which answers 403 to a token that it does not accept.
import os
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException, Request, Security
from fastapi.security import HTTPBearer, OAuth2PasswordBearer, SecurityScopes

with open(os.environ["API_PUBLIC_KEY_FILE"]) as file:
    public_key = file.read()
app = FastAPI()


def claims_of(token):
    return jwt.decode(token, public_key, algorithms=["RS256"], audience="api")


@app.get("/up")
def up():
    return "ok"


oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token", scopes={"items": "Read items.", "admin": "Everything."})


async def current_user(wanted: SecurityScopes, token: Annotated[str, Depends(oauth2_scheme)]):
    challenge = f'Bearer scope="{wanted.scope_str}"' if wanted.scopes else "Bearer"
    headers = {"WWW-Authenticate": challenge}
    try:
        claims = claims_of(token)
    except jwt.InvalidTokenError:
        raise HTTPException(401, "Could not validate credentials", headers)
    granted = claims.get("scope", "").split()
    if any(scope not in granted for scope in wanted.scopes):
        raise HTTPException(401, "Not enough permissions", headers)
    return claims["sub"]


@app.get("/scopes/me")
async def me(user: Annotated[str, Depends(current_user)]):
    return {"user": user}


@app.get("/scopes/items")
async def items(user: Annotated[str, Security(current_user, scopes=["items"])]):
    return {"user": user}


@app.get("/scopes/admin")
async def admin(user: Annotated[str, Security(current_user, scopes=["admin"])]):
    return {"user": user}


class JWTBearer(HTTPBearer):
    async def __call__(self, request: Request):
        credentials = await super().__call__(request)
        try:
            return claims_of(credentials.credentials)
        except jwt.InvalidTokenError:
            raise HTTPException(403, "Invalid token or expired token.")


@app.get("/jwt-bearer/items")
async def bearer_items(claims: Annotated[dict, Depends(JWTBearer())]):
    return {"user": claims["sub"]}


@app.get("/jwt-bearer/admin")
async def bearer_admin(claims: Annotated[dict, Depends(JWTBearer())]):
    if claims.get("role") != "admin":
        raise HTTPException(403, "Not enough permissions")
    return {"user": claims["sub"]}
