"""The endpoint's own pages: HTML that loads nothing and runs no script."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from blindrelay.trust import format_identity, identity_groups

_FOLDER: Final = Path(__file__).with_name("templates")
_STYLE: Final = (_FOLDER / "style.css").read_text("utf-8")
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Not no-referrer: it makes a form's Origin null, and the endpoint requires its own.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A response with a rendered template; everything in `values` is escaped."""
    return HTMLResponse(_TEMPLATES.get_template(template).render(values), status, headers=_HEADERS)


def _clock(seconds: float) -> str:
    """Unix seconds as a date and a time of day, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def _duration(seconds: float) -> str:
    minutes = max(0, int(seconds)) // 60
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _short(identifier: bytes) -> str:
    """Enough of an identifier to tell it from others."""
    return identifier.hex()[:8]


_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_TEMPLATES.globals["style"] = Markup(_STYLE)  # noqa: S704 (our own file)
_TEMPLATES.filters.update(
    clock=_clock,
    duration=_duration,
    identity=format_identity,
    identity_groups=identity_groups,
    short=_short,
    thousands="{:,}".format,
)
