"""The leakage lab: its attacks win where something leaks, and find nothing where nothing does."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn", reason="needs the extra leakage")
pytest.importorskip("lightgbm", reason="needs the extra leakage")

from bench.leakage.bill_sizes import added, on_the_ladder
from bench.leakage.controls import speculative
from bench.leakage.conversations import SECONDS, conversations, held
from bench.leakage.corpus import known_answers, topic_texts
from bench.leakage.exchanges import recorded_in, replays
from bench.leakage.figures import Figure, table
from bench.leakage.games import bits, endings, entropy, identify, model, topic, tunnel
from bench.leakage.plan import QUICK
from bench.leakage.request_sizes import request_figures
from bench.leakage.run import lost_controls
from bench.leakage.traces import Recording, load_traces
from blindrelay.testbed.trace.texts import pieces
from blindrelay.v1.limits import MILLIONTHS
from blindrelay.v1.receipts_pb2 import ROUNDING_LADDER
from blindrelay.v1.units import rounded_units

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries with the attacks


def cells(count: int, size: int = 515) -> list[list[Any]]:
    return [[0, "up", 5_270], *([100.0 * number, "down", size] for number in range(1, count + 1))]


def recorded(folder: Path, shape: str, *exchanges: tuple[Any, list[list[Any]]]) -> Recording:
    file = folder / "traces.jsonl"
    file.write_text(
        "".join(json.dumps({"label": label, "trace": trace}) + "\n" for label, trace in exchanges)
    )
    return Recording(shape, load_traces(file))


def labels(folder: Path, leaking: bool) -> Recording:
    """Eight answers, four times each, on topics of their own, by models of their own; eight conversations."""
    made = []
    names = {"identify": "answer", "topic": "topic", "model": "model", "tunnel": "conversation"}
    for game, name in names.items():
        for each in range(8):
            for draw in range(4):
                count = 20 + 10 * each if leaking else 64
                made.append(({"game": game, name: each, "prompt": f"{each}/{draw}"}, cells(count)))
    return recorded(folder, "balanced", *made)


@pytest.mark.parametrize("game", [identify, model, tunnel])
def test_who_was_it_is_won_only_if_something_leaks(game: Any, tmp_path: Path) -> None:
    assert all(figure.value == 1 for figure in game(labels(tmp_path, leaking=True), 1))
    assert all(figure.value <= 0.3 for figure in game(labels(tmp_path, leaking=False), 1))


def test_topic_is_won_only_if_something_leaks(tmp_path: Path) -> None:
    leaking, quiet = (
        [figure.value for figure in topic(labels(tmp_path, leaking=leaking), 1) if "AUPRC" in figure.row]
        for leaking in (True, False)
    )
    assert min(leaking) > 0.5
    assert max(quiet) < 0.1


def test_bits_count_buckets_and_leave_late_answers_out(tmp_path: Path) -> None:
    late = cells(64)
    late[10][0] += 70
    made = recorded(tmp_path, "balanced", *[(n, cells(64 * (1 + n % 2))) for n in range(8)], ("late", late))
    sizes, average, both, share = (figure.value for figure in bits(made))
    assert (sizes, both) == (1, 1)
    assert average == pytest.approx(entropy([0] * 5 + [1] * 4))
    assert share == pytest.approx(1 / 9)


def test_conversation_is_named_by_what_the_client_sends(tmp_path: Path) -> None:
    made = [
        ({"game": "tunnel", "conversation": each}, [*cells(20), *([[100.0, "up", 600]] * (1 + each))])
        for each in range(4)
        for _ in range(4)
    ]
    assert all(figure.value == 1 for figure in tunnel(recorded(tmp_path, "off", *made), 1))


def test_bits_count_what_all_shapes_have(tmp_path: Path) -> None:
    more = {"game": "identify", "answer": 1, "only": ["strict"]}
    made = [(more, cells(176)), ({"game": "tunnel", "conversation": 1}, cells(63)), ("usual", cells(64))]
    assert bits(recorded(tmp_path, "strict", *made))[0].value == 0


def test_endings_are_compared(tmp_path: Path) -> None:
    ends = [({"game": "ending", "ending": end}, cells(64 + (end == "error"))) for end in ("stop", "error")]
    assert [figure.value for figure in endings(recorded(tmp_path, "strict", *ends))] == [2]


def test_control_of_speculative_decoding_is_won() -> None:
    texts = [text.words for text in topic_texts(1, 200, random.Random(1))]
    assert all(figure.met for figure in speculative(texts, 4, 1))


def test_lost_control_is_named() -> None:
    won, lost = (Figure(f"control, {each}", "off", each, target=0.5, least=True) for each in (1.0, 0.1))
    assert lost_controls([won, lost]) == []
    assert lost_controls([lost]) == ["control"]


def test_table_says_what_was_missed() -> None:
    made = table([Figure("a", "off", 1.0), Figure("a", "strict", 2.0, 1.0, 3.0, target=1.5)])
    assert made.splitlines()[-1] == "| a | 1 |  | 2 (1.00-3.00), ≤ 1.50 **missed** |"


def test_strict_requests_show_less() -> None:
    found = {figure.shape: figure.value for figure in request_figures(1) if "bits" in figure.row}
    assert found["strict"] < 1 < found["balanced"]


def test_units_on_the_ladder_tell_less_than_exact_ones() -> None:
    costs = {answer: 100 + answer for answer in range(16)}
    alike = [(answer, "sizes") for answer in costs]
    exact = added(alike, {answer: {cost: 1.0} for answer, cost in costs.items()})
    ladder = added(alike, {answer: on_the_ladder(cost) for answer, cost in costs.items()})
    assert exact == pytest.approx(4)
    assert 0 < ladder < 0.2


def test_units_add_nothing_where_the_sizes_name_the_answer() -> None:
    named = [(answer, answer) for answer in range(16)]
    assert added(named, {answer: on_the_ladder(100 * answer) for answer in range(16)}) == 0


def test_units_of_a_receipt_are_as_likely_as_the_coin_makes_them() -> None:
    coins = [(2**64 * place // 1_000).to_bytes(8, "big") for place in range(1_000)]
    drawn = Counter(rounded_units(137 * MILLIONTHS, ROUNDING_LADDER, coin, 1_000_000) for coin in coins)
    assert {units: count / 1_000 for units, count in drawn.items()} == pytest.approx(
        on_the_ladder(137), abs=0.002
    )


def test_shapes_have_more_of_what_is_closest_to_chance() -> None:
    plan = replace(QUICK, strict_draws=6, shaped_prompts=4, strict_model_texts=9)
    _, made = replays(plan, None, 1)
    for shape, counts in (
        ("off", {"identify": 15 * 3, "topic": 10 * 2 * 2, "model": 8 * 3}),
        ("balanced", {"identify": 15 * 3, "topic": 10 * 4 * 2, "model": 8 * 3}),
        ("strict", {"identify": 15 * 6, "topic": 10 * 4 * 2, "model": 8 * 9}),
    ):
        found = Counter(made[place].label["game"] for place in recorded_in(shape, made))
        assert {game: found[game] for game in counts} == counts


def test_each_answer_is_given_once_before_one_is_given_again() -> None:
    _, made = replays(QUICK, None, 1)
    order = [each.label["answer"] for each in made if each.label["game"] == "identify"]
    rounds = [order[first : first + QUICK.answers] for first in range(0, len(order), QUICK.answers)]
    assert [sorted(each) for each in rounds] == [list(range(QUICK.answers))] * QUICK.draws
    assert rounds[0] != sorted(rounds[0])


def test_control_has_the_same_exchanges_in_another_order() -> None:
    _, made = replays(QUICK, None, 1)
    off, balanced = recorded_in("off", made), recorded_in("balanced", made)
    assert balanced == list(range(len(made)))
    assert off != balanced == sorted(off)


def test_conversation_differs_each_time_but_little() -> None:
    known = conversations(3, 1)
    assert known == conversations(3, 1)
    once, again = (held(known[0], random.Random(number)) for number in (1, 2))
    assert [each.at for each in once] != [each.at for each in again]
    texts = [[each.text for each in said] for said in (once, again)]
    common = min(map(len, texts))
    assert common > 5
    assert texts[0][:common] == texts[1][:common]
    assert max(each.at for each in once) < SECONDS


def test_replays_have_a_gap_for_each_piece_and_end_in_time() -> None:
    _, made = replays(QUICK, None, 1)
    assert all(len(pieces(replay.text)) == len(replay.gaps) for replay in made)
    usual = [replay for replay in made if replay.label["game"] in ("identify", "topic", "model")]
    assert max(sum(replay.gaps) for replay in usual) < 1_000 * QUICK.longest


def test_texts_of_a_folder_are_used(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"text{number} " * 40)
    name, texts = known_answers(3, 35, tmp_path, random.Random(1))
    assert (name, sorted({text.split()[0] for text in texts})) == (str(tmp_path), ["text0", "text1", "text2"])
    assert {len(text.split()) for text in texts} == {35}
    with pytest.raises(ValueError, match="only 3 texts"):
        known_answers(4, 35, tmp_path, random.Random(1))


def test_wrong_trace_is_named(tmp_path: Path) -> None:
    file = tmp_path / "traces"
    file.write_text('{"label": 1, "trace": []}\n{"label": 1}\n')
    with pytest.raises(ValueError, match="line 2: a label and a trace are needed"):
        load_traces(file)
