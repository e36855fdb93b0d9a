"""HTML pages from Jinja2's templates."""

from __future__ import annotations

from pathlib import Path

import jinja2


def render(template: Path, **values: object) -> str:
    """The page. Every value is escaped; one that is missing raises jinja2.UndefinedError."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template.read_text(encoding="utf-8")).render(values)
