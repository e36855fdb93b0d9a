"""All scenarios and how they must end: every failure by every way, then the others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from blindrelay.v1.outer_status import OuterStatus

from . import departures, failures
from .content import Canaries
from .controls import CONTROLS
from .failures import Failure, Refusing, hostile
from .ways import Way, by_asynchronous_library, by_endpoint, by_library, by_program
from .world import Outcomes, Scenario, World

_WAYS: Final[tuple[Way, ...]] = (by_library, by_asynchronous_library, by_endpoint)

_CUT: Final = ("cut", "RemoteProtocolError")
"""The library's error, and that of a client whose endpoint breaks off the connection."""


@dataclass(frozen=True)
class Tried:
    """A scenario, and how its exchanges may end: kinds of our errors, or HTTP statuses."""

    scenario: Scenario
    ends: frozenset[str]


def _sent(failure: Failure, *ends: str, ways: tuple[Way, ...] = _WAYS) -> Tried:
    """Sends by several ways at once. The provider's key is the program's, so it is content too."""

    def scenario(world: World, canaries: Canaries) -> Outcomes:
        with failure(world) as connection, ThreadPoolExecutor() as pool:
            brought = f"{connection}&credentials=brought"
            running = [pool.submit(way, world, brought, canaries) for way in ways]
            return {name: ends for each in running for name, ends in each.result().items()}

    return Tried(scenario, frozenset(ends))


def _run_too(failure: Failure, *ends: str) -> Tried:
    """Sends by `blindrelay run` too, which is an endpoint and an environment for a program."""
    return _sent(failure, *ends, ways=(*_WAYS, by_program))


def _by_itself(scenario: Scenario, *ends: str) -> Tried:
    return Tried(scenario, frozenset(ends))


SEALED: Final[dict[str, Tried]] = {
    "all is well": _run_too(failures.none, "200"),
    "all is well with TLS": _sent(failures.certificate, "200"),
    "proxies in the environment": _run_too(failures.proxies_in_the_environment, "200"),
    "base URLs in the environment": _run_too(failures.base_urls_in_the_environment, "200"),
    "the relay is down": _run_too(failures.gone("relay"), "relay_unreachable"),
    "the bridge is gone": _run_too(failures.gone("bridge"), "bridge_unavailable"),
    "the provider is gone": _sent(failures.gone("provider"), "provider_unreachable"),
    "the pin is wrong": _run_too(failures.another_pin, "key_trust"),
    "the token is wrong": _run_too(failures.another_token, "token_unknown"),
    "the relay has no TLS": _sent(failures.no_tls, "relay_unreachable"),
    "another authority's certificate": _sent(failures.another_authoritys_certificate, "relay_unreachable"),
    "another host's certificate": _sent(failures.another_hosts_certificate, "relay_unreachable"),
    "an expired certificate": _sent(failures.expired_certificate, "relay_unreachable"),
    "the relay's name is not resolved": _run_too(failures.no_such_name, "relay_unreachable"),
    "no directories": _sent(failures.no_directories, "bridge_unavailable"),
    "nonsense for directories": _sent(failures.nonsense_for_directories, "key_trust"),
    "a forged directory": _sent(failures.forged_directory, "key_trust"),
    "an outdated directory": _sent(failures.outdated_directory, "key_trust"),
    "the key is unknown": _sent(hostile(lambda: Refusing(OuterStatus.KEY_UNKNOWN)), "key_unknown"),
    "over the relay's limit": _sent(hostile(lambda: Refusing(OuterStatus.OVERLOADED)), "overloaded"),
    "an altered envelope": _sent(failures.altered_envelope, "refused"),
    "an altered request": _sent(failures.altered_request, "refused"),
    "an altered response": _sent(failures.altered_answer, "altered"),
    "a cut response": _sent(failures.cut_answer, "cut"),
    "a response in clear": _sent(failures.answer_in_clear, "altered"),
    "the relay dies in mid-stream": _by_itself(departures.gone_in_mid_stream("relay"), *_CUT),
    "the bridge dies in mid-stream": _by_itself(departures.gone_in_mid_stream("bridge"), *_CUT),
    "left in mid-stream": _by_itself(departures.left_in_mid_stream, "left"),
    "left in mid-upload": _by_itself(departures.left_in_mid_upload, "left"),
    "over the bridge's limit": _by_itself(departures.too_large, "too_large"),
    "redirected into the open": _by_itself(departures.redirected_into_the_open, "not_allowed", "307"),
    "an SDK that believes its environment": _by_itself(
        departures.an_sdk_that_believes_its_environment, "PermissionDeniedError"
    ),
}
"""They must leak nothing and connect only to the relay."""

SCENARIOS: Final = {**CONTROLS, **{name: tried.scenario for name, tried in SEALED.items()}}
