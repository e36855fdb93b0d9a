"""Accounts, their limits, and their tokens."""

from __future__ import annotations

from blindrelay.admin.v1 import admin_pb2 as admin
from blindrelay.ledger.administration.context import AdminContext, page_size
from blindrelay.ledger.administration.messages import (
    account_message,
    all_limits,
    new_limits,
    scope_of,
    token_message,
)
from blindrelay.ledger.books import Account, Books, Token
from blindrelay.serving.tokens import new_token


class AccountCalls:
    """Each method is a call of the service; `by` says who makes it."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._books = context.books

    async def add_account(self, request: admin.AddAccountRequest, by: str) -> admin.AddAccountResponse:
        account = await self._books.do(
            Books.add_account,
            request.name,
            all_limits(request.limits),
            expires_at=request.expires_at or None,
            by=by,
            now=self._context.now,
        )
        return admin.AddAccountResponse(account=account_message(account))

    async def list_accounts(self, request: admin.ListAccountsRequest, _: str) -> admin.ListAccountsResponse:
        accounts = await self._books.read(
            Books.accounts, after=request.after, limit=page_size(request.limit), contains=request.contains
        )
        return admin.ListAccountsResponse(accounts=map(account_message, accounts))

    async def get_account(self, request: admin.GetAccountRequest, _: str) -> admin.GetAccountResponse:
        account = await self._books.read(Books.account, request.account)
        tokens = await self._books.read(Books.tokens, request.account)
        return admin.GetAccountResponse(account=account_message(account), tokens=map(token_message, tokens))

    async def find_account(self, request: admin.FindAccountRequest, _: str) -> admin.FindAccountResponse:
        token = await self._books.read(Books.token_of, request.token_digest, self._context.now)
        return admin.FindAccountResponse(account=token.account, token=token.id)

    async def update_account(
        self, request: admin.UpdateAccountRequest, by: str
    ) -> admin.UpdateAccountResponse:
        now = self._context.now

        def update(books: Books) -> Account:
            account = books.account(request.account)
            enabled = request.enabled if request.HasField("enabled") else account.enabled
            expires_at = request.expires_at or None if request.HasField("expires_at") else account.expires_at
            return books.update_account(
                request.account, enabled=enabled, expires_at=expires_at, by=by, now=now
            )

        account = await self._books.do(update)
        await self._context.changed(account)
        return admin.UpdateAccountResponse(account=account_message(account))

    async def set_limits(self, request: admin.SetLimitsRequest, by: str) -> admin.SetLimitsResponse:
        names, now = tuple(request.mask.paths), self._context.now

        def update(books: Books) -> Account:
            limits = new_limits(books.account(request.account).limits, request.limits, names)
            return books.set_limits(request.account, limits, by=by, now=now)

        account = await self._books.do(update)
        await self._context.changed(account)
        return admin.SetLimitsResponse(account=account_message(account))

    async def issue_token(self, request: admin.IssueTokenRequest, by: str) -> admin.IssueTokenResponse:
        text, digest = new_token()
        token = await self._books.do(
            Books.add_token,
            request.account,
            request.name,
            digest,
            expires_at=request.expires_at or None,
            scope=scope_of(request.scope),
            by=by,
            now=self._context.now,
        )
        return admin.IssueTokenResponse(token=text, issued=token_message(token))

    async def rotate_token(self, request: admin.RotateTokenRequest, by: str) -> admin.RotateTokenResponse:
        text, digest = new_token()
        token = await self._books.do(Books.rotate_token, request.id, digest, by=by, now=self._context.now)
        await self._revoked(token)
        return admin.RotateTokenResponse(token=text, issued=token_message(token))

    async def revoke_token(self, request: admin.RevokeTokenRequest, by: str) -> admin.RevokeTokenResponse:
        token = await self._books.do(Books.revoke_token, request.id, by=by, now=self._context.now)
        await self._revoked(token)
        return admin.RevokeTokenResponse(token=token_message(token))

    async def _revoked(self, token: Token) -> None:
        await self._context.changed(await self._books.do(Books.account, token.account))
