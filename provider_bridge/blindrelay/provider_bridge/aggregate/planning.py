"""From a call of the aggregated address to the calls that can serve it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from blindrelay.provider_bridge.aggregate.addresses import ANY_BODY, CALLS, Dialect, dialect_of
from blindrelay.provider_bridge.aggregate.brought import brought_credentials, without_own
from blindrelay.provider_bridge.aggregate.choice import Candidate
from blindrelay.provider_bridge.aggregate.health import Member
from blindrelay.provider_bridge.aggregate.model_table import Target
from blindrelay.provider_bridge.errors import RequestError, not_allowed
from blindrelay.provider_bridge.policy.request_policy import PlannedCall, plan_at, with_check
from blindrelay.provider_bridge.policy.urls import Origin, RequestUrl
from blindrelay.provider_bridge.providers import Provider
from blindrelay.v1.http_headers import BROUGHT_CREDENTIAL, CACHE_SALT

_BROUGHT: Final = "\0brought"
"""Stands for the name of a credential that a client brings; no configuration can use it."""


def aggregated_address(origin: Origin, providers: Iterable[Provider]) -> Provider:
    """The aggregated address, as if it were a provider that has every call."""
    listed = (provider.request_headers for provider in providers)
    return Provider(
        name="models",
        origin=origin,
        target=origin,
        credential=None,
        injected=CALLS,
        brought=CALLS,
        request_headers=frozenset({BROUGHT_CREDENTIAL, CACHE_SALT}).union(*listed),
        stateless=ANY_BODY,
    )


def accepted(call: PlannedCall) -> PlannedCall:
    """A call of the aggregated address whose head is in order. Raises RequestError."""
    if call.injected and any(name == BROUGHT_CREDENTIAL for name, _ in call.headers):
        raise not_allowed(
            f"the header {BROUGHT_CREDENTIAL.decode()} is for credentials=brought: this exchange brings none"
        )
    if not call.injected:
        brought_credentials(call.headers)
        call = with_check(call)
    return replace(call, check=None, checked_later=call.check is not None)


def candidates(
    call: PlannedCall, name: str, targets: Iterable[Target], providers: Mapping[str, Provider]
) -> list[Candidate]:
    """The candidates that can serve the call. If there are none, raises RequestError, which says why."""
    secrets = None if call.injected else brought_credentials(call.headers)
    found: list[Candidate] = []
    refusals: list[RequestError] = []
    for target in targets:
        provider = providers[target.provider]
        try:
            planned = _at_target(call, name, provider, secrets)
        except RequestError as refusal:
            refusals.append(refusal)
            continue
        if secrets is None:
            found += _pooled(planned, target, dialect_of(call.url.path)[0])
        else:
            member = Member(provider.name, _BROUGHT, target.model)
            found.append(Candidate(member, planned, target.weight, target.priority))
    if not found:
        raise refusals[0]
    return found


def _pooled(planned: PlannedCall, target: Target, dialect: Dialect) -> Iterable[Candidate]:
    """A candidate for each credential of a target's provider, which share the target's weight."""
    members = planned.provider.members
    if not members:
        yield Candidate(Member(target.provider, "", target.model), planned, target.weight, target.priority)
    whole = sum(member.weight for member in members)
    for member in members:
        credential = member.compatible if dialect is Dialect.OPENAI else member.own
        yield Candidate(
            Member(target.provider, member.name, target.model),
            replace(planned, credential=credential),
            target.weight * member.weight / whole,
            target.priority,
        )


def _at_target(
    call: PlannedCall, name: str, provider: Provider, secrets: Mapping[str, bytes] | None
) -> PlannedCall:
    dialect, rest = dialect_of(call.url.path)
    beginning = dialect.at(provider)
    if beginning is None:
        raise not_allowed(f"the model {name} is served by {provider.name}, which does not speak this dialect")
    url = RequestUrl(provider.origin, beginning + rest, call.url.query)
    brought = secrets is not None
    if provider.find_call(call.method, url.path, brought=brought) is None:
        raise not_allowed(f"the model {name} is served by {provider.name}, which has no {call.method} {rest}")
    headers = without_own(call.headers)
    if secrets is not None:
        if provider.name not in secrets:
            raise not_allowed(
                f"the model {name} is served by {provider.name}: bring a credential for it "
                f"({BROUGHT_CREDENTIAL.decode()})"
            )
        style = provider.compatible_style if dialect is Dialect.OPENAI else provider.style
        headers.append((style.header, style.value(secrets[provider.name])))
    planned = plan_at(provider, call.method, url, headers, brought=brought)
    return replace(planned, deadline=call.deadline, shape=call.shape)
