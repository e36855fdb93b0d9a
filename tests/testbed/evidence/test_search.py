"""What an evidence run searches with: forms, needles, memory, samples of what is sealed."""

from __future__ import annotations

import base64
import json
import os
import random
import subprocess
import sys
from urllib.parse import quote

import pytest

from blindrelay.testbed.evidence.canaries import Canaries
from blindrelay.testbed.evidence.forms import WINDOW, forms, spellings, window
from blindrelay.testbed.evidence.memory import memory_of
from blindrelay.testbed.evidence.retention import Samples
from blindrelay.testbed.evidence.search import Needles

WORD = Canaries.fresh()["body"]
OTHERS = {f"other {number}": spellings(Canaries.fresh()["body"]) for number in range(20)}
NEEDLES = Needles({**OTHERS, "word": spellings(WORD)}, window)


@pytest.mark.parametrize("form", forms(WORD))
def test_any_twelve_letters_of_every_form_are_found(form: str) -> None:
    for spelling in forms(WORD)[form]:
        enough = window(spelling)
        assert len(spelling) >= enough
        for start in range(len(spelling) - enough + 1):
            cut = spelling[start : start + enough]
            assert NEEDLES.found_in(os.urandom(1_000 + start) + cut + os.urandom(500)) == {"word"}


def test_encoded_words_are_found_and_short_ones_whole() -> None:
    for shift in range(6):
        assert NEEDLES.found_in(base64.b64encode(b"x" * shift + WORD.encode() + b"yz")) == {"word"}
    for written in (json.dumps(WORD).encode(), quote(WORD).encode(), WORD.encode("utf-16")):
        assert NEEDLES.found_in(written) == {"word"}
    sample = os.urandom(16)
    needles = Needles({"sample": spellings(sample), "short": [b"123456789"]}, WINDOW)
    for printed in (repr(b"a" + sample), sample.hex(), base64.b64encode(b"12" + sample + b"3").decode()):
        assert needles.found_in(f"message: {printed}".encode()) == {"sample"}
    assert needles.found_in(b"..123456789..") == {"short"}
    assert needles.found_in(b"..12345678...") == set()


def test_nothing_is_found_in_eleven_bytes_in_noise_or_in_a_table_of_digits() -> None:
    for start in range(0, len(WORD) - WINDOW, 5):
        part = WORD[start : start + WINDOW - 1].encode()
        assert NEEDLES.found_in(b" " * 50 + part + b" " * 50) == set()
    for noise in (os.urandom(3_000_000), bytes(3_000_000), b"short", b""):
        assert NEEDLES.found_in(noise) == set()
    # Six digits in UTF-16 are twelve bytes, and libraries have tables of them.
    needles = Needles({"word": spellings("c8c7e8f7ea1234119eca705e54239")}, window)
    assert needles.found_in(b"\x001\x001\x002\x003\x004\x001\x001\x001\x005" * 20) == set()


def test_words_across_pieces_and_at_ends_are_found() -> None:
    for at in (0, 1_000_000, 1_048_570, 1_048_576 - WINDOW, 3_000_000 - WINDOW):
        data = bytearray(3_000_000)
        data[at : at + WINDOW] = WORD[7 : 7 + WINDOW].encode()
        assert NEEDLES.found_in(bytes(data)) == {"word"}


def test_memory_of_another_process_is_read() -> None:
    program = f"import sys; held = {WORD!r}.encode(); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            assert any("word" in NEEDLES.found_in(piece) for piece in memory_of(process.pid))
        except PermissionError:
            pytest.skip("this user may not read other processes")
        finally:
            process.kill()


def test_samples_are_sealed_bytes_and_are_found_where_they_remain() -> None:
    sealed, text = os.urandom(50_000), b"POST /blindrelay.v1.ExchangeService/Exchange 127.0.0.1:8443 " * 500
    samples = Samples([sealed + text])
    assert samples.forwarded == len(sealed + text)
    assert 1_500 < len(samples) < 4_000
    assert samples.found_in([sealed]) > len(samples) * 0.99
    assert samples.found_in([sealed[:25_000]]) == pytest.approx(len(samples) / 2, rel=0.15)
    assert samples.found_in([text, os.urandom(100_000)]) == 0
    assert samples.written_in([sealed.hex().encode()]) > samples.written * 0.99
    assert samples.written_in([text, random.randbytes(100_000)]) == 0
    assert Samples([os.urandom(10_000)]).allowed == 0.5, "it shrinks with the traffic"
    assert Samples([os.urandom(10_000_000)]).allowed < 0.1
