"""The credentials of a [[provider]] entry: `credential`, or a pool of them as `credentials`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from blindrelay.provider_bridge.credentials import Credential, CredentialStyle, PooledCredential, Secret
from blindrelay.serving import ConfigError, Table, read_secret

MAX_CREDENTIALS: Final = 64
"""The most credentials of one provider. An exchange may try each of them once."""

MAX_WEIGHT: Final = 1_000

NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
"""The name of a credential or a provider, as headers and metrics show it."""

_CREDENTIAL: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_SINGLE: Final = "only"


def read_pool(
    table: Table, environment: Mapping[str, str], style: CredentialStyle, compatible: CredentialStyle
) -> tuple[PooledCredential, ...]:
    """The credentials of a provider: none, the one of `credential`, or those of `credentials`.

    Raises ConfigError.
    """

    def pooled(entry: Table, name: str, weight: int = 1) -> PooledCredential:
        secret = _secret(entry, environment)
        return PooledCredential(name, Credential(style, secret), Credential(compatible, secret), weight)

    def named(entry: Table) -> PooledCredential:
        return pooled(entry, read_name(entry), read_weight(entry))

    single = table.table("credential", lambda entry: pooled(entry, _SINGLE))
    several = table.optional_tables("credentials", named)
    if single is not None and several:
        raise table.error("credentials", "is given, and so is credential: give one or the other")
    if len(several) > MAX_CREDENTIALS:
        raise table.error("credentials", f"has more than {MAX_CREDENTIALS} entries")
    names = [credential.name for credential in several]
    for name in names:
        if names.count(name) > 1:
            raise table.error("credentials", f'has two entries with the name "{name}"')
    return several if single is None else (single,)


def read_credential(style: CredentialStyle, environment: Mapping[str, str], table: Table) -> Credential:
    """The credential that a { env = … } or { file = … } names. No message quotes it. Raises ConfigError."""
    return Credential(style, _secret(table, environment))


def read_name(table: Table) -> str:
    """A `name` that headers can show. Raises ConfigError."""
    name = table.text("name")
    if not NAME.fullmatch(name):
        raise table.error("name", f'is "{name}": use at most 64 letters, digits, ".", "_" and "-"')
    return name


def read_weight(table: Table) -> int:
    """The share of an entry beside others."""
    return table.integer("weight", default=1, minimum=1, maximum=MAX_WEIGHT)


def _secret(table: Table, environment: Mapping[str, str]) -> Secret:
    """Reads the secret once, so that a mistake shows at the start. Raises ConfigError."""
    variable, path = table.optional_text("env"), table.optional_path("file")
    if (variable is None) == (path is None):
        raise table.error("env", "or file: exactly one of the two has to name the credential")
    if variable is not None and not environment.get(variable):
        raise table.error("env", f"names {variable}, and that environment variable is not set")

    def read() -> bytes:
        if path is None:
            return _checked(environment[str(variable)], f"the environment variable {variable}")
        return _checked(read_secret(path, "credential file").decode("ascii", "replace"), str(path))

    read()
    return Secret(read, path)


def _checked(secret: str, source: str) -> bytes:
    secret = secret.strip()
    if not _CREDENTIAL.fullmatch(secret):
        raise ConfigError(f"{source}: not a credential: it is empty, or not printable ASCII without spaces")
    return secret.encode("ascii")
