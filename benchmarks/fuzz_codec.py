"""Coverage-guided fuzzing of the codec with atheris, installed for this only: pip install atheris.

Whatever bytes come, ``decode`` gives a document or refuses; what it gives can be encoded, stored and decoded
to the same again; the decoders for small and for large messages agree. libFuzzer's options are taken over; it
ends with a report and code 77 at the first message for which that does not hold.
Usage: python benchmarks/fuzz_codec.py [-max_total_time=20] [-runs=N] [-seed=S]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit(print("atheris is not installed, nothing was fuzzed: pip install atheris", file=sys.stderr))

with atheris.instrument_imports(include=["streamproc.transports", "streamproc.runs", "msgpack"]):
    from streamproc.errors import DocumentRefused
    from streamproc.runs.state import pack, unpack
    from streamproc.testing.fuzzing import Fuzzer, sample_documents
    from streamproc.transports.codec import DecodeLimits, decode, encode
    from streamproc.transports.plain import from_bytes, to_bytes

FOR_LARGE = b"\x92\xa5event\x82\xa1p\xc6\x00\x01\x11\x70" + bytes(70_000) + b"\xa1q"
DEEPER = DecodeLimits(depth=DecodeLimits().depth + 2)


def one(raw: bytes) -> None:
    """Try one message, by itself and inside one that is large enough for the other decoder."""
    try:
        name, doc = decode(raw)
    except DocumentRefused:
        return
    again = encode(name, doc)
    if encode(*decode(again)) != again or encode(name, unpack(from_bytes(to_bytes(pack(doc))))) != again:
        raise AssertionError(f"{name} document is another after it was encoded or stored")
    _, large = decode(FOR_LARGE + raw, DEEPER)
    if encode(*large["q"]) != again:
        raise AssertionError(f"{name} document is another in a large message")


def corpus(folder: Path, count: int = 500) -> None:
    """Write fuzzed messages to begin with."""
    fuzzer = Fuzzer(sample_documents(folder), 0, folder / "canary")
    seeds = folder / "seeds"
    seeds.mkdir()
    for number, message in enumerate(fuzzer.messages(count)):
        if message.value and len(message.value) < 4096:
            (seeds / str(number)).write_bytes(message.value)


def main() -> None:
    """Fuzz until an option of libFuzzer says that it is enough, 20 s by default."""
    options = sys.argv[1:] or ["-max_total_time=20"]
    with tempfile.TemporaryDirectory() as folder:
        corpus(Path(folder))
        atheris.Setup([sys.argv[0], *options, f"{folder}/seeds"], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
