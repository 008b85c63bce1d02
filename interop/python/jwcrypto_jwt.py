import json
import os
import time
import urllib.request

from jwcrypto import jwk, jwt

# The keys are fetched every 5 minutes, and for an unknown key ID, but not twice
# within 10 seconds.
keys, fetched = None, 0


def fetch():
    global keys, fetched
    with urllib.request.urlopen(os.environ["JWKS_URL"], timeout=5) as response:
        keys = jwk.JWKSet.from_json(response.read())
    fetched = time.monotonic()


def check(token):
    return jwt.JWT(
        jwt=token,
        key=keys,
        algs=["ES256"],
        check_claims={
            "iss": os.environ["ISSUER"],
            "aud": os.environ["AUDIENCE"],
            "exp": None,
            "sub": None,
        },
    )


def verify(token):
    """Returns the claims of a good token ("sub" is the user), and raises an
    exception otherwise."""
    if keys is None or time.monotonic() - fetched > 300:
        fetch()
    try:
        good = check(token)
    except jwt.JWTMissingKey:
        if time.monotonic() - fetched < 10:
            raise
        fetch()
        good = check(token)
    if good.token.jose_header.get("typ") != "at+jwt":
        raise ValueError("not an access token")
    return json.loads(good.claims)
