"""Fixtures for every test."""

from __future__ import annotations

import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from hypothesis import HealthCheck, settings

from tests.patience import PATIENCE

pytest_plugins = ["tests.aimock.server", "tests.browser"]

settings.register_profile(
    "blindrelay",
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],  # it measures the machine
)
settings.load_profile("blindrelay")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background job, and in its children
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """grpc.aio runs on asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def state_of_the_tests_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the state of clients, also in child processes, out of this user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLINDRELAY_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def traces_of_the_tests_alone() -> Iterator[None]:
    """A server's command in this process must not switch off core dumps for later child processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blindrelay.serving.command.leave_no_traces", lambda: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def patience_of_clients() -> Iterator[None]:
    """A busy machine may need more than five seconds for a connection, which is what users wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blindrelay.client.transport._CONNECT_SECONDS", PATIENCE)
        yield


@pytest.fixture(scope="session", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keeps one event loop for all asynchronous tests: gRPC may still call into one just closed."""
    yield  # noqa: PT022 (the loop lives as long as a fixture of this scope does)


@pytest.fixture
def no_descriptors() -> Callable[[], AbstractContextManager[None]]:
    """A block in which no file can be opened, as in a process that has too many open."""

    @contextmanager
    def exhausted() -> Iterator[None]:
        allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))

    return exhausted
