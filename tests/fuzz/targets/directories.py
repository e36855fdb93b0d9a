"""Keys and key directories, one at a time, as client and relay read them (sections 4 and 5)."""

from __future__ import annotations

from blindrelay.relay_node.directory import DirectoryFormatError, encode_listings, read_listing
from blindrelay.sealing import KeyConfigError, encapsulate
from blindrelay.sealing.keys import parse_config, public_key_of
from blindrelay.trust import DirectoryError, VerifiedDirectory, verify_directory
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import Delegation, KeyConfig, KeyDirectory, SignedKeyDirectory
from blindrelay.v1.limits import CLOCK_TOLERANCE, ENCAPSULATED_SECRET_SIZE, MAX_DIRECTORIES_SIZE

from ..alter import altered
from ..statements import CONFIG, GOOD_DIRECTORY, PINNED, made_directory, vector_answers
from ..tape import Tape, written
from ..target import Target, check
from ..vectors import NOW, raw, vector

_ENVELOPE = Envelope.FromString(raw(vector("envelope/envelope")["values"][0]))
_TWO_DAYS = 172_800


def key_config(data: bytes) -> None:
    """A KeyConfig, any bytes or a good one changed."""
    tape = Tape(data)
    config = altered(tape, KeyConfig.FromString(CONFIG)) if tape.flag() else tape.rest()
    parsed = parse_config(config)
    public_key_of(config)
    check((parsed.suite, len(parsed.public_key)) == (1, 1_216), "one suite, one size")
    _check_validity(parsed.not_before, parsed.not_after)
    check(len(key_id(config)) == 16, "a key's name is 16 bytes")


def sealing_to_a_key(data: bytes) -> None:
    """What a client does with a key that a hostile directory lists: seal to it, or refuse it."""
    tape = Tape(data)
    config = altered(tape, KeyConfig.FromString(CONFIG))
    envelope = Envelope()
    envelope.CopyFrom(_ENVELOPE)
    envelope.key_id = key_id(config)
    exchange = encapsulate(envelope.SerializeToString(deterministic=True), config)
    check(len(exchange.encapsulated_secret) == ENCAPSULATED_SECRET_SIZE, "a secret is 1,168 bytes")
    check(parse_config(config).suite == 1, "nothing is sealed to another suite")


def relay_directories(data: bytes) -> None:
    """The relay's reading of a bridge's response: what it serves on is what it read."""
    listing = read_listing(data)
    served, left_out = encode_listings([listing])
    check(left_out == 0 and len(served) <= MAX_DIRECTORIES_SIZE, "what came in goes out")
    check(read_listing(served) == listing, "what is served reads as what came")
    sizes = len(listing.identity), len(listing.replica_id)
    check(sizes == (32, 16) and listing.lifetime > 0, "sizes and times are in bounds")
    check(1 <= len(listing.key_ids) <= 8, "1 to 8 keys")


def directory(data: bytes) -> None:
    """One directory of arbitrary content under real signatures, at any time."""
    tape = Tape(data)
    now = tape.near(NOW)
    signed = made_directory(tape)
    verified = verify_directory(signed.message, PINNED, now)
    check(signed.genuine, "a directory that is not signed as it should be is not accepted")
    _check_accepted(signed.message, verified, now)
    again = verify_directory(SignedKeyDirectory.FromString(verified.signed), PINNED, now)
    check(again == verified, "what is kept verifies again")


def _check_accepted(message: SignedKeyDirectory, verified: VerifiedDirectory, now: int) -> None:
    """The table of section 5, from the exact bytes."""
    said, by = KeyDirectory.FromString(message.directory), Delegation.FromString(message.delegation)
    check(said.identity == by.identity == verified.identity == PINNED, "the pinned identity's")
    check(len(verified.replica_id) == 16 and len(verified.next_identity_hash) in (0, 32), "sizes")
    check(0 < said.expires_at - said.issued_at <= _TWO_DAYS, "a lifetime of two days at most")
    check(said.started_at <= said.issued_at, "started before it was issued")
    check(abs(now - said.issued_at) <= CLOCK_TOLERANCE and now <= said.expires_at, "fresh")
    check(now <= by.not_after and now + CLOCK_TOLERANCE >= by.not_before, "delegated now")
    check(verified.expires_at == min(said.expires_at, by.not_after), "ends with the first of its ends")
    check([key.config for key in verified.keys] == list(said.configs), "exact configs")
    check(1 <= len(verified.keys) <= 8, "1 to 8 keys")
    for key in verified.keys:
        check(key.key_id == key_id(key.config) and key.identity == PINNED, "a key is named by its bytes")
        _check_validity(key.not_before, key.not_after)


def _check_validity(not_before: int, not_after: int) -> None:
    check(0 < not_after - not_before <= _TWO_DAYS, "a validity of two days at most")
    check(not_before % 10 == not_after % 10 == 0, "a validity in multiples of 10")


TARGETS = (
    Target("key_config", key_config, (KeyConfigError,), lambda: [written(1, 0, 0), written(0) + CONFIG]),
    Target("sealing_to_a_key", sealing_to_a_key, (KeyConfigError,), lambda: [written(0, 0)]),
    Target("relay_directories", relay_directories, (DirectoryFormatError,), vector_answers, 16_384),
    Target("directory", directory, (DirectoryError,), lambda: [written(0) + GOOD_DIRECTORY]),
)
