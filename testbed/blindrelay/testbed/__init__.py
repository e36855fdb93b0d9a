"""A whole BlindRelay on one machine, for trying, testing and measuring: real processes, a real model.

::

    with Testbed() as bed:
        sealed = SealedTransport(bed.relay)

or, from a shell, ``python -m blindrelay.testbed up`` and ``python -m blindrelay.testbed demo``.
"""

from blindrelay.v1.extras import needs_extra

with needs_extra("testbed"):
    from blindrelay.testbed.configuration import official_providers
    from blindrelay.testbed.errors import PartDiedError, PartNotReadyError, TestbedError, UnavailableError
    from blindrelay.testbed.processes import PartProcess
    from blindrelay.testbed.providers import ProviderKind, talking_provider, testable_provider
    from blindrelay.testbed.random_model import write_random_model
    from blindrelay.testbed.tap import Direction, Forwarded
    from blindrelay.testbed.topology import Testbed
    from blindrelay.testing.configuration import MappedProvider

__all__ = [
    "Direction",
    "Forwarded",
    "MappedProvider",
    "PartDiedError",
    "PartNotReadyError",
    "PartProcess",
    "ProviderKind",
    "Testbed",
    "TestbedError",
    "UnavailableError",
    "official_providers",
    "talking_provider",
    "testable_provider",
    "write_random_model",
]
