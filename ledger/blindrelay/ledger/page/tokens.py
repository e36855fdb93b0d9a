"""What the operator does with an account's tokens."""

from __future__ import annotations

from typing import Final

from blindrelay.admin.v1.admin_pb2 import IssueTokenRequest, RevokeTokenRequest, RotateTokenRequest, Scope
from blindrelay.ledger.page.forms import Form
from blindrelay.ledger.page.sign_in import Notice
from blindrelay.ledger.page.site import Visit

MAX_CLASS: Final = 2**32 - 1
"""The largest number of a service class (spec/protocol.md, section 6)."""


async def issue_token(visit: Visit, form: Form) -> Notice:
    """Issues a token, which the next page shows once."""
    asked = IssueTokenRequest(
        account=visit.request.path_params["account"],
        name=form.optional_text("name"),
        expires_at=form.end_of_day("expires", "the last day") or 0,
        scope=Scope(
            bridges=form.words("bridges"),
            classes=form.integers("classes", "a service class", maximum=MAX_CLASS),
            addresses=form.words("addresses"),
        ),
    )
    done = await visit.ask(visit.admin.IssueToken, asked)
    return Notice(f"The token {done.issued.name} was issued. It is shown only now:", secret=done.token)


async def rotate_token(visit: Visit, form: Form) -> Notice:
    """Replaces a token by a new one, which the next page shows once."""
    done = await visit.ask(visit.admin.RotateToken, RotateTokenRequest(id=form.text("id", "the token")))
    return Notice(
        f"The token {done.issued.name} was replaced; the old one is revoked. The new one is shown only now:",
        secret=done.token,
    )


async def revoke_token(visit: Visit, form: Form) -> Notice:
    """Revokes a token."""
    done = await visit.ask(visit.admin.RevokeToken, RevokeTokenRequest(id=form.text("id", "the token")))
    return Notice(f"The token {done.token.name} was revoked.")
