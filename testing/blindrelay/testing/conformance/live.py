"""The live mode of the kit."""

from __future__ import annotations

import blindrelay.v1.grpc_env  # noqa: F401 - before the first import of grpc
from blindrelay.testing.conformance.check import Outcome, Wanted
from blindrelay.testing.conformance.live_checks import LIVE_CHECKS
from blindrelay.testing.conformance.live_program import LiveProgram, UnsupportedError
from blindrelay.testing.conformance.live_relay import LiveRelay
from blindrelay.testing.conformance.program import Program, ProgramError


def run_live(program: Program, wanted: Wanted) -> Outcome:
    """Makes the live checks that are wanted. Raises OSError if the program cannot be started."""
    outcome = Outcome()
    with LiveRelay() as relay:
        live = LiveProgram(relay, program)
        for name, check in LIVE_CHECKS.items():
            if name not in wanted:
                continue
            try:
                outcome.note("live", name, check(live))
            except UnsupportedError:
                outcome.note_unsupported("live")
            except ProgramError as error:
                outcome.note_silence(name, error)
            if outcome.gave_up:
                break
    return outcome
