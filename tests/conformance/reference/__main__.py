"""The core and the client of this repository, as a program that the conformance kit can ask."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from typing import Final

import httpx

from blindrelay.client import BridgeError, SealedTransport
from blindrelay.v1.inner_pb2 import EXECUTION_NOT_STARTED, ErrorCode

from . import bills, formats, streams
from .words import WORDS, Fields, refused


@cache
def client_of(connection: str) -> httpx.Client:
    return SealedTransport(f"{connection}&history=off&shape=off").httpx_client(timeout=60)


def fetch(asked: Fields) -> Fields:
    client, body = client_of(asked["connection"]), bytes.fromhex(asked["body"])
    try:
        with client.stream(asked["method"], asked["url"], headers=asked["headers"], content=body) as response:
            if "x-blindrelay-error" in response.headers:
                return failure(response.headers["x-blindrelay-error"])
            for piece in response.iter_raw():
                print(json.dumps({"piece": piece.hex()}), flush=True)
                if asked["abort"]:
                    return {"outcome": "aborted"}
        return {"outcome": "complete", "status": response.status_code}
    except httpx.HTTPError as error:
        if not isinstance(error, BridgeError):
            return {"outcome": "failed"}
        return {"outcome": "error", "code": int(error.code), "execution": int(error.execution)}


def failure(marked: str) -> Fields:
    """The client's answer in place of a response. Those of the bridge are refusals."""
    origin, _, kind = marked.partition("/")
    if origin != "bridge":
        return {"outcome": "failed"}
    code = ErrorCode.Value(f"ERROR_CODE_{kind.upper()}")
    return {"outcome": "error", "code": code, "execution": EXECUTION_NOT_STARTED}


QUESTIONS: Final[dict[str, Callable[[Fields], Fields]]] = {
    "identity": formats.identity,
    "key": formats.key,
    "directory": formats.directory,
    "envelope": formats.envelope,
    "decapsulate": formats.decapsulated,
    "claim": formats.claim,
    "head": formats.head,
    "padding": formats.padding,
    "cut": formats.cut,
    "sizes": formats.sizes,
    "open": streams.opened,
    "cells": streams.cells,
    "tunnel_cells": streams.tunnel_cells,
    "exchange": streams.exchange,
    "seal": streams.seal,
    "tunnel": streams.tunnel,
    "bill": bills.bill,
    "price_table": bills.price_table,
    "watermark": bills.watermark,
    "rounding": bills.rounding,
    "fetch": fetch,
}


def answer(asked: Fields) -> Fields:
    try:
        return QUESTIONS[asked["question"]](asked)
    except tuple(WORDS) as error:
        return refused(error)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
