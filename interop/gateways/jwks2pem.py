"""Writes the keys of a JWK Set as PEM files for HAProxy, as 1.pem, 2.pem and
3.pem: jwks2pem.py URL DIRECTORY. With fewer keys the last one is there several
times. Prints "changed" if a file was not there or has another key now. The keys
must be for ES256. Needs nothing beyond Python."""

import base64
import json
import pathlib
import sys
import urllib.request

# What stands before the point in a public key on P-256 (RFC 5480).
HEAD = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
PLACES = 3


def coordinate(text):
    """Returns the 32 bytes of a coordinate (RFC 7518, Section 6.2.1)."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(data) != 32:
        raise ValueError("a coordinate of the wrong size")
    return data


def pem(key):
    if (key["kty"], key["crv"], key.get("alg", "ES256")) != ("EC", "P-256", "ES256"):
        raise ValueError("a key that is not for ES256")
    text = base64.encodebytes(HEAD + coordinate(key["x"]) + coordinate(key["y"]))
    return b"-----BEGIN PUBLIC KEY-----\n" + text + b"-----END PUBLIC KEY-----\n"


def main(url, directory):
    with urllib.request.urlopen(url, timeout=10) as response:
        keys = [pem(key) for key in json.load(response)["keys"]]
    if not 1 <= len(keys) <= PLACES:
        raise ValueError(f"{len(keys)} keys: haproxy.cfg has {PLACES} places")
    for place in range(PLACES):
        text = keys[min(place, len(keys) - 1)]
        file = pathlib.Path(directory, f"{place + 1}.pem")
        if not file.exists() or file.read_bytes() != text:
            new = file.with_suffix(".new")
            new.write_bytes(text)
            new.replace(file)
            print("changed")


main(*sys.argv[1:])
