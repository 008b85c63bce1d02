import json
import os

from jwcrypto import jwe, jwk, jwt

# What keygen export --private prints. Whoever has it can make session tokens.
with open(os.environ["KEYS_FILE"]) as file:
    keys = jwk.JWKSet.from_json(file.read())


def verify(token):
    """Returns the claims of a good session token, and raises an exception
    otherwise."""
    sealed = jwe.JWE(algs=["dir", "A256KW", "ECDH-ES+A256KW", "A256GCM"])
    sealed.deserialize(token)
    sealed.decrypt(keys.get_key(sealed.jose_header["kid"]))
    signed = jwt.JWT(
        jwt=sealed.payload.decode(),
        key=keys,
        algs=["ES256"],
        check_claims={
            "iss": os.environ["ISSUER"],
            "aud": os.environ["ISSUER"],
            "exp": None,
            "sub": None,
        },
    )
    if signed.token.jose_header.get("typ") != "cloakroom+jwt":
        raise ValueError("not a session token")
    return json.loads(signed.claims)
