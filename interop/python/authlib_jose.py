import os
import time
import urllib.request

from authlib.jose import JsonWebKey, JsonWebToken

# The keys are fetched every 5 minutes, and for an unknown key ID, but not twice
# within 10 seconds.
keys, fetched = None, 0
tokens = JsonWebToken(["ES256"])


def fetch():
    global keys, fetched
    with urllib.request.urlopen(os.environ["JWKS_URL"], timeout=5) as response:
        keys = JsonWebKey.import_key_set(response.read().decode())
    fetched = time.monotonic()


def find_key(header, payload):
    if keys is None or time.monotonic() - fetched > 300:
        fetch()
    try:
        return keys.find_by_kid(header["kid"])
    except ValueError:
        if time.monotonic() - fetched < 10:
            raise
        fetch()
        return keys.find_by_kid(header["kid"])


def verify(token):
    """Returns the claims of a good token ("sub" is the user), and raises an
    exception otherwise."""
    claims = tokens.decode(
        token,
        find_key,
        claims_options={
            "iss": {"essential": True, "value": os.environ["ISSUER"]},
            "aud": {"essential": True, "value": os.environ["AUDIENCE"]},
            "exp": {"essential": True},
            "sub": {"essential": True},
        },
    )
    if claims.header.get("typ") != "at+jwt":
        raise ValueError("not an access token")
    claims.validate(leeway=10)
    return claims
