"""Credits and vouchers."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Final

from blindrelay.admin.v1 import admin_pb2 as admin
from blindrelay.ledger.administration.context import AdminContext, page_size
from blindrelay.ledger.administration.messages import account_message, voucher_message
from blindrelay.ledger.books import Account, Books, InvalidError, Voucher

MAX_VOUCHERS: Final = 1_000
"""Vouchers of one call."""

_CODE_SIZE: Final = 15
"""Random bytes of a code: its hash cannot be searched for, and 24 letters and digits can be typed."""

_GROUP: Final = 4


class UnitCalls:
    """Each method is a call of the service; `by` says who makes it."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._books = context.books

    async def add_credit(self, request: admin.AddCreditRequest, by: str) -> admin.AddCreditResponse:
        credit = await self._books.do(
            Books.credit, request.account, request.units, request.reference, by=by, now=self._context.now
        )
        account = await self._account(request.account)
        return admin.AddCreditResponse(account=account_message(account), repeated_reference=credit.repeated)

    async def add_vouchers(self, request: admin.AddVouchersRequest, by: str) -> admin.AddVouchersResponse:
        if not 1 <= request.count <= MAX_VOUCHERS:
            raise InvalidError(f"one call makes 1 to {MAX_VOUCHERS} vouchers, not {request.count}")
        codes = [new_code() for _ in range(request.count)]
        vouchers = await self._books.do(
            Books.add_vouchers,
            [code_digest(code) for code in codes],
            request.units,
            expires_at=request.expires_at or None,
            reference=request.reference,
            by=by,
            now=self._context.now,
        )
        return admin.AddVouchersResponse(codes=codes, vouchers=map(voucher_message, vouchers))

    async def list_vouchers(self, request: admin.ListVouchersRequest, _: str) -> admin.ListVouchersResponse:
        vouchers = await self._books.read(Books.vouchers, after=request.after, limit=page_size(request.limit))
        return admin.ListVouchersResponse(vouchers=map(voucher_message, vouchers))

    async def revoke_voucher(
        self, request: admin.RevokeVoucherRequest, by: str
    ) -> admin.RevokeVoucherResponse:
        voucher = await self._books.do(Books.revoke_voucher, request.id, by=by, now=self._context.now)
        return admin.RevokeVoucherResponse(voucher=voucher_message(voucher))

    async def redeem_voucher(
        self, request: admin.RedeemVoucherRequest, by: str
    ) -> admin.RedeemVoucherResponse:
        voucher: Voucher = await self._books.do(
            Books.redeem_voucher, request.account, code_digest(request.code), by=by, now=self._context.now
        )
        account = await self._account(request.account)
        return admin.RedeemVoucherResponse(account=account_message(account), units=voucher.units)

    async def _account(self, name: str) -> Account:
        """The account, which has more units now."""
        account = await self._books.do(Books.account, name)
        await self._context.changed(account)
        return account


def new_code() -> str:
    """A voucher's code: six groups of four letters and digits."""
    letters = base64.b32encode(secrets.token_bytes(_CODE_SIZE)).decode("ascii")
    return "-".join(letters[start : start + _GROUP] for start in range(0, len(letters), _GROUP))


def code_digest(code: str) -> bytes:
    """The SHA-256 of a code as it was typed: case, spaces and hyphens do not matter."""
    letters = "".join(code.replace("-", " ").split()).upper()
    return hashlib.sha256(letters.encode()).digest()
