"""Runs a verifier of this directory for the tests: python3 run.py FILE. For
each token on a line of its input it prints "ok SUB" or "no REASON"."""

import importlib.util
import sys

sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("verifier", sys.argv[1])
verifier = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verifier)

for line in sys.stdin:
    try:
        print("ok", verifier.verify(line.strip())["sub"], flush=True)
    except Exception as err:
        print("no", type(err).__name__, " ".join(str(err).split()), flush=True)
