"""What the state machine draws: limits, amounts and times at which the rules change."""

from __future__ import annotations

from hypothesis import strategies as st

from blindrelay.ledger.books import Limits, Period, Quota

from .model import DAY

LIMITS = st.builds(
    Limits,
    max_units=st.sampled_from((10, 50)),
    concurrent=st.integers(1, 3),
    overdraft=st.sampled_from((None, 0, 60)),
    units=st.sampled_from((None, None, None, Quota(90))),
    exchanges=st.sampled_from((None, None, None, Quota(6, Period.DAY))),
    bytes=st.sampled_from((None, None, None, Quota(900))),
)
STEPS = st.sampled_from((1, 10, 10, 60, 60, 290, 720, 720, DAY, 7 * DAY))
INDEX = st.integers(0, 99)
AMOUNTS = st.sampled_from((0, 1, 9, 10, 10, 11, 49, 50, 50, 51))
