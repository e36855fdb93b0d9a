"""Fuzzes one target in this process: python -m tests.fuzz.one MODULE NAME [libFuzzer's options, folders]

The exit code and stderr are those of libFuzzer. Only blindrelay is instrumented.
"""

from __future__ import annotations

import importlib
import logging
import sys

import atheris


def main() -> None:
    module, name = sys.argv[1:3]
    logging.disable()  # logging each refused directory would take most of the time
    with atheris.instrument_imports(include=["blindrelay"]):
        targets = importlib.import_module(module).TARGETS
    target = next(target for target in targets if target.name == name)
    atheris.Setup([sys.argv[0], *sys.argv[3:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
