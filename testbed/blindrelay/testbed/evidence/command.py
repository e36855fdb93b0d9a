"""`python -m blindrelay.testbed evidence`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from blindrelay.testbed.errors import TestbedError, UnavailableError
from blindrelay.testbed.evidence.leaky_relay import LEAKS
from blindrelay.testbed.evidence.network import enter_own_network
from blindrelay.testbed.evidence.page import page
from blindrelay.testbed.evidence.report import as_json, lines

ROUNDS: Final = 100
PATIENCE: Final = 60.0
QUICK_ROUNDS: Final = 2
QUICK_MINUTE: Final = 15.0


def run_command(
    *, inside: bool, quick: bool, json_only: bool, out: Path, leaks: Sequence[str], by_envoy: bool = False
) -> None:
    """Runs it in a new network namespace, unless `inside` is set, and writes the report.

    The relay has the leaks that are named, or it is Envoy with its control process.

    Raises UnavailableError where the machine does not allow it, TestbedError if the relay holds what it must
    not, or if the run was powerless.
    """
    if unknown := set(leaks) - LEAKS.keys():
        raise UnavailableError(f"there is no leak {', '.join(sorted(unknown))}; there are {', '.join(LEAKS)}")
    if leaks and by_envoy:
        raise UnavailableError("leaks are those of the relay itself: leave out --data-plane envoy")
    if not inside:
        enter_own_network()
    from blindrelay.testbed.evidence.run import Run, Size
    from blindrelay.testbed.evidence.scene import AS_SHIPPED, BEHIND_ENVOY, leaking

    out = out.absolute()

    def say(what: str) -> None:
        sys.stderr.write(f"… {what}\n")

    size = Size(QUICK_ROUNDS, 0.0, QUICK_MINUTE) if quick else Size(ROUNDS, PATIENCE)
    start = BEHIND_ENVOY if by_envoy else leaking(leaks) if leaks else AS_SHIPPED
    evidence = Run(size, say, start)()
    result = as_json(evidence)
    out.mkdir(parents=True, exist_ok=True)
    (out / "evidence.json").write_text(json.dumps(result, indent=1))
    (out / "evidence.html").write_text(page(evidence), encoding="utf-8")
    print(json.dumps(result) if json_only else "\n".join(lines(evidence)))
    if not json_only:
        print(f"Written: {out / 'evidence.html'}, {out / 'evidence.json'}")
    if not evidence.is_good:
        wrong = "; ".join([*evidence.leaks(), *evidence.weaknesses()])
        raise TestbedError(f"the evidence is not what it should be: {wrong}")
