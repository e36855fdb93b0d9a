"""Links that work once, and sessions that end."""

from __future__ import annotations

from blindrelay.ledger.page.sign_in import (
    LINK_SECONDS,
    MAX_LINKS,
    MAX_SESSIONS,
    MAX_SESSIONS_OF_ONE,
    SESSION_SECONDS,
    Notice,
    OneTimeLinks,
    Session,
    Sessions,
)


class Clock:
    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        return self.time


def test_link_works_once() -> None:
    links = OneTimeLinks(Clock())
    code = links.new_code()
    assert not links.redeem("")
    assert links.redeem(code)
    assert not links.redeem(code)


def test_link_ends_with_its_time() -> None:
    clock = Clock()
    links = OneTimeLinks(clock)
    early, late = links.new_code(), links.new_code()
    clock.time += LINK_SECONDS - 1
    assert links.redeem(early)
    clock.time += 1
    assert not links.redeem(late)


def test_new_links_and_sessions_push_out_the_oldest() -> None:
    links, sessions = OneTimeLinks(Clock()), Sessions(Clock())
    codes = [links.new_code() for _ in range(MAX_LINKS + 1)]
    assert [links.redeem(code) for code in codes[:2]] == [False, True]
    secrets = [sessions.start(bytes([count % 256, count // 256])) for count in range(MAX_SESSIONS + 1)]
    assert [sessions.find(secret) is None for secret in secrets[:2]] == [True, False]
    assert sessions.find(secrets[-1]) is not None


def test_one_token_signs_nobody_else_out() -> None:
    sessions = Sessions(Clock())
    other = sessions.start(b"other")
    own = [sessions.start(b"own") for _ in range(MAX_SESSIONS + MAX_SESSIONS_OF_ONE)]
    kept = [secret for secret in own if sessions.find(secret)]
    assert kept == own[-MAX_SESSIONS_OF_ONE:]
    assert sessions.find(other) is not None


def test_session_ends_with_its_time_or_when_told() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    one, other = sessions.start(b"d" * 32), sessions.start()
    found = sessions.find(one)
    assert found is not None
    assert found.token_digest == b"d" * 32
    sessions.end(other)
    sessions.end(other)
    assert sessions.find(other) is None
    clock.time += SESSION_SECONDS - 1
    assert sessions.find(one) is found
    clock.time += 1
    assert sessions.find(one) is None
    assert sessions.find("") is None


def test_notice_is_told_once_and_on_its_page_alone() -> None:
    session = Session(0, notice=Notice("done", page="/accounts"))
    assert session.taken_notice("/") is None
    assert session.taken_notice("/accounts") == Notice("done", page="/accounts")
    assert session.taken_notice("/accounts") is None


def test_secrets_do_not_print() -> None:
    session = Session(0, token_digest=b"secret", notice=Notice("done", secret="brt_secret"))
    assert "secret" not in repr(session)
    assert session.form_token not in repr(session)


def test_form_token_is_that_of_the_session() -> None:
    session, other = Session(0), Session(0)
    assert session.sent(session.form_token)
    assert not session.sent(other.form_token)
    assert not session.sent("")
    assert not session.sent("ü")
