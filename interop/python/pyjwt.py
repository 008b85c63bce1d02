import os
import time

import jwt


class Keys(jwt.PyJWKClient):
    """The issuer's keys. They are fetched every 5 minutes, and for an unknown
    key ID, but not twice within 10 seconds."""

    next_fetch = 0

    def get_jwk_set(self, refresh=False):
        if refresh:
            if time.monotonic() < self.next_fetch:
                raise jwt.PyJWKClientError("unknown key")
            self.next_fetch = time.monotonic() + 10
        return super().get_jwk_set(refresh)


keys = Keys(os.environ["JWKS_URL"])


def verify(token):
    """Returns the claims of a good token ("sub" is the user), and raises a
    jwt.PyJWTError otherwise."""
    if jwt.get_unverified_header(token).get("typ") != "at+jwt":
        raise jwt.InvalidTokenError("not an access token")
    return jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token).key,
        algorithms=["ES256"],
        issuer=os.environ["ISSUER"],
        audience=os.environ["AUDIENCE"],
        leeway=10,
        options={"require": ["iss", "aud", "exp", "sub"]},
    )
