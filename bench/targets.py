"""What is aimed at, as ratios within one run, and how far a run is from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.comparisons.accounts import LEDGER, TOKENS
from bench.comparisons.earlier import EARLIER, NOW, SMALL, STREAMS
from bench.comparisons.forwarders import EXCHANGE, SPACED
from bench.comparisons.gateway import LITELLM, LONG, OURS, WHOLE
from bench.comparisons.large import BESIDE, RAW
from bench.comparisons.libraries import BARE, OUR_RECORDS
from bench.comparisons.stalled import READERS
from bench.measuring import Measurement, difference, ratio, spread
from bench.plan import MIB
from bench.results import Comparison
from bench.stands import DIRECT, ENVOY, OUR_ENVOY, RELAY, SEALED, SEALED_BY_ENVOY, UNSEALED

Figures = dict[str, float] | None
Results = Mapping[str, Comparison]
MOST_STREAMS: Final = 10_000


@dataclass(frozen=True)
class Target:
    """`figures` finds its value in a run: median, least, most; None if that was not measured.

    Attributes:
        bound: what the median may be at most, or at least if `at_least`.
        unit: of the value; "×" for a ratio.
    """

    what: str
    bound: float
    unit: str
    figures: Callable[[Results], Figures]
    at_least: bool = False
    where: str = ""

    def met(self, value: float) -> bool:
        """Whether it is reached."""
        return value >= self.bound if self.at_least else value <= self.bound

    @property
    def aim(self) -> str:
        """The bound, as it is written."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit}"


def _value(*path: str) -> Callable[[Measurement], float]:
    def find(measured: Measurement) -> float:
        value: Any = measured
        for name in path:
            value = value.get(name, {})
        return float(value or 0.0)

    return find


def _memory(measured: Measurement) -> float:
    return float(measured["pss"]) / MIB


def _cpu(per: str, *processes: str) -> Callable[[Measurement], float]:
    return lambda measured: sum(_value(f"cpu_us_per_{per}", name)(measured) for name in processes)


def _ratio(
    comparison: str,
    over: str,
    under: str,
    figure: Callable[[Measurement], float],
    at: str | None = None,
    under_figure: Callable[[Measurement], float] | None = None,
) -> Callable[[Results], Figures]:
    def find(results: Results) -> Figures:
        if comparison not in results:
            return None
        a, b = results[comparison].runs(over, at), results[comparison].runs(under, at)
        return ratio(a, b, figure, under_figure) if len(a) == len(b) else None

    return find


def _by_envoy(under: str, per: str, at: str) -> Callable[[Results], Figures]:
    """CPU of Envoy and its control process over another forwarder's."""
    both, other = _cpu(per, "forwarder", "control"), _cpu(per, "forwarder")
    return _ratio("forwarders_together", OUR_ENVOY, under, both, at, other)


def _over_litellm(at: str) -> Callable[[Results], Figures]:
    ours = _cpu("exchange", "envoy", "control", "bridge")
    return _ratio("gateway", SEALED_BY_ENVOY, LITELLM, ours, at, _cpu("exchange", "gateway"))


def _added(percentile: str, way: str = SEALED) -> Callable[[Results], Figures]:
    def find(results: Results) -> Figures:
        if "added_time" not in results:
            return None
        made = results["added_time"]
        a, b = made.runs(way), made.runs(DIRECT)
        return difference(a, b, _value("first_ms", percentile)) if len(a) == len(b) else None

    return find


def _idle(figure: Callable[[Measurement], float], way: str = RELAY) -> Callable[[Results], Figures]:
    def find(results: Results) -> Figures:
        made = results.get("idle_streams")
        runs = made.runs(way, MOST_STREAMS) if made else []
        return spread([figure(run) for run in runs if run["held"] == MOST_STREAMS])

    return find


def _stalled(figure: Callable[[Measurement], float]) -> Callable[[Results], Figures]:
    def find(results: Results) -> Figures:
        made = results.get("stalled_readers")
        runs = made.runs(OUR_ENVOY, READERS) if made else []
        return spread([figure(run) for run in runs if run["held"] == READERS])

    return find


def _beside_uploads(results: Results) -> Figures:
    runs = results["heartbeat"].runs(BESIDE) if "heartbeat" in results else []
    return spread([run["longest_gap_ms"] for run in runs])


def _many_streams(results: Results) -> Figures:
    """Goodput of 2,000 streams over that of 250; 0 for a run with errors."""
    if "side_by_side" not in results:
        return None
    many, few = (results["side_by_side"].runs(SEALED, count) for count in (2_000, 250))
    goodput = _value("exchanges_per_second")
    return ratio(many, few, lambda run: 0.0 if run["errors"] else goodput(run)) if many and few else None


def _peak_rise(results: Results) -> Figures:
    runs = results["large_response"].runs(SEALED) if "large_response" in results else []
    return spread([max(run["peak_rise"][name] for name in ("relay", "client")) / MIB for run in runs])


TARGETS: Final[Sequence[Target]] = (
    Target(
        "sealing's share: throughput over the unsealed same path, 4 KiB prompts, streamed responses",
        0.90,
        "×",
        _ratio("throughput", SEALED, UNSEALED, _value("exchanges_per_second")),
        at_least=True,
    ),
    Target("added time to first token, p50, idle", 5.5, "ms", _added("p50")),
    Target("added time to first token, p99, idle", 8, "ms", _added("p99")),
    Target(
        f"bridge CPU of a small exchange over {EARLIER}",
        0.6,
        "×",
        _ratio("earlier", NOW, EARLIER, _cpu("exchange", "bridge"), SMALL),
    ),
    Target(
        "bridge CPU per streamed piece over the same",
        0.65,
        "×",
        _ratio("earlier", NOW, EARLIER, _cpu("piece", "bridge"), STREAMS),
    ),
    Target(
        "client CPU of a small exchange over the same",
        0.8,
        "×",
        _ratio("earlier", NOW, EARLIER, _cpu("exchange", "client"), SMALL),
    ),
    Target(
        "relay CPU per streamed record over Envoy's (500 records/s a stream, core shared)",
        6,
        "×",
        _ratio("forwarders_together", RELAY, ENVOY, _cpu("piece", "forwarder"), SPACED),
    ),
    Target(
        "the same, forwarder on a core of its own",
        6,
        "×",
        _ratio("forwarders_apart", RELAY, ENVOY, _cpu("piece", "forwarder"), SPACED),
    ),
    Target(
        "relay CPU per exchange of one record each way over Envoy's (core shared)",
        4,
        "×",
        _ratio("forwarders_together", RELAY, ENVOY, _cpu("exchange", "forwarder"), EXCHANGE),
    ),
    Target(
        "the same, forwarder on a core of its own",
        4,
        "×",
        _ratio("forwarders_apart", RELAY, ENVOY, _cpu("exchange", "forwarder"), EXCHANGE),
    ),
    Target(
        "CPU of Envoy and its control process per exchange of one record each way over bare Envoy",
        *(1.3, "×", _by_envoy(ENVOY, "exchange", EXCHANGE)),
    ),
    Target("the same per streamed record", 1.15, "×", _by_envoy(ENVOY, "piece", SPACED)),
    Target(
        "CPU of Envoy and its control process per exchange over our relay's",
        *(0.3, "×", _by_envoy(RELAY, "exchange", EXCHANGE)),
    ),
    Target("the same per streamed record", 0.35, "×", _by_envoy(RELAY, "piece", SPACED)),
    Target(
        "CPU of Envoy, control process and bridge per chat completion over LiteLLM's proxy",
        *(0.125, "×", _over_litellm(WHOLE)),
    ),
    Target("the same, streamed (128 pieces at 100/s) and shaped", 0.1, "×", _over_litellm(LONG)),
    Target(
        "added time to first token with Envoy, nothing shaped, p50, idle",
        4.5,
        "ms",
        _added("p50", SEALED_BY_ENVOY),
    ),
    Target("50 clients of Envoy that do not read: its memory", 100, "MiB", _stalled(_memory)),
    Target("another call beside them, p50", 10, "ms", _stalled(_value("latency_ms", "p50"))),
    Target(
        "10,000 open streams on Envoy: its memory and the control process's",
        *(300, "MiB", _idle(_memory, OUR_ENVOY)),
    ),
    Target(
        "CPU of relay and bridge per chat completion over LiteLLM's proxy",
        0.22,
        "×",
        _ratio(
            "gateway", OURS, LITELLM, _cpu("exchange", "relay", "bridge"), WHOLE, _cpu("exchange", "gateway")
        ),
    ),
    Target(
        "10,000 open streams on one relay process: its memory",
        450,
        "MiB",
        _idle(_memory),
    ),
    Target(
        "CPU per exchange of a relay with a ledger over one with a token file",
        1.05,
        "×",
        _ratio("accounts", LEDGER, TOKENS, _cpu("exchange", "relay")),
    ),
    Target("a new exchange among them: first record, p99", 50, "ms", _idle(_value("first_ms", "p99"))),
    Target(
        "16 MiB upload: throughput over raw gRPC of the same bytes",
        0.85,
        "×",
        _ratio("upload", SEALED, RAW, _value("exchanges_per_second")),
        at_least=True,
    ),
    Target("16 MiB upload: longest gap of another stream's 10 ms", 50, "ms", _beside_uploads),
    Target(
        "2,000 streams at once: goodput over 250 at once, no errors", 0.95, "×", _many_streams, at_least=True
    ),
    Target(
        "seal 64 KiB in the client over PyNaCl's secretstream call",
        0.5,
        "×",
        _ratio("record_layer", OUR_RECORDS, BARE, _value("cpu_us"), "seal 64 KiB"),
    ),
    Target(
        "open 64 KiB in the client over PyNaCl's secretstream call",
        0.5,
        "×",
        _ratio("record_layer", OUR_RECORDS, BARE, _value("cpu_us"), "open 64 KiB"),
    ),
    Target("memory of relay and client under a large response, above idle", 64, "MiB", _peak_rise),
)


def judged(results: Results) -> list[tuple[Target, Figures]]:
    """Every target with what the run says of it."""
    return [(target, target.figures(results)) for target in TARGETS]


def target_table(results: Results) -> str:
    """A Markdown table: each target, what was measured, met or not."""
    lines = ["| what | target | measured (least-most) | met |", "|---|---|---|---|"]
    for target, found in judged(results):
        measured, verdict = "not measured", ""
        if found is not None:
            measured = f"**{found['median']:.3g} {target.unit}** ({found['least']:.3g}-{found['most']:.3g})"
            verdict = "yes" if target.met(found["median"]) else "**no**"
        lines.append(f"| {target.what} | {target.aim} | {measured} | {verdict} |")
    return "\n".join(lines)
