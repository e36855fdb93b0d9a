"""The command `blindrelay-bridge import`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from blindrelay.provider_bridge.importing.bridge_toml import bridge_files
from blindrelay.provider_bridge.importing.deployments import Imported
from blindrelay.provider_bridge.importing.litellm import read_litellm
from blindrelay.provider_bridge.importing.new_api import read_new_api
from blindrelay.serving import ConfigError
from blindrelay.serving.command import Commands
from blindrelay.v1.extras import needs_extra
from blindrelay.v1.text_file import EncodingError, decode_text

_NEITHER: Final = (
    "has neither LiteLLM's model_list nor a list of new-api's channels: docs/models.md says what is imported"
)


def add_import(commands: Commands) -> None:
    """Adds the command to a parser."""
    command = commands.add_parser(
        "import", help="make a bridge.toml from LiteLLM's config.yaml or new-api's channels"
    )
    command.add_argument("file", type=Path, metavar="FILE", help="config.yaml, or channels as JSON")
    command.add_argument(
        "--out",
        type=Path,
        default=Path("bridge.toml"),
        metavar="FILE",
        help="the new file; keys in clear go to files beside it (default: bridge.toml)",
    )
    command.set_defaults(run=_import)


def _import(arguments: argparse.Namespace) -> None:
    imported = _read(arguments.file)
    for note in imported.notes:
        sys.stderr.write(f"{note}\n")
    if not imported.deployments:
        raise ConfigError(f"{arguments.file}: nothing in it could be taken, so nothing is written")
    files = bridge_files(imported)
    written = files.write(arguments.out)
    sys.stdout.write(f"Written: {', '.join(map(str, written))}\n")
    sys.stdout.write(f"Then: blindrelay-bridge doctor --config {arguments.out}\n")


def _read(path: Path) -> Imported:
    """Raises ConfigError."""
    content = _parsed(path)
    if isinstance(content, dict) and isinstance(content.get("model_list"), list):
        return read_litellm(content, os.environ)
    if isinstance(content, dict):  # the answer of new-api's /api/channel/
        content = content.get("data")
    if isinstance(content, dict):
        content = content.get("items")
    if not isinstance(content, list):
        raise ConfigError(f"{path} {_NEITHER}")
    return read_new_api(content)


def _parsed(path: Path) -> Any:
    """What a file of JSON or YAML has. Raises ConfigError, which quotes nothing of the file."""
    try:
        text = decode_text(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from None
    except EncodingError as error:
        raise ConfigError(f"{path} {error}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _parsed_yaml(path, text)


def _parsed_yaml(path: Path, text: str) -> Any:
    with needs_extra("import"):
        import yaml
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f": see line {error.problem_mark.line + 1}"
        raise ConfigError(f"{path} is neither JSON nor YAML{line}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"{path} is neither JSON nor YAML") from None
