"""A trial is the script of its values, which names no tested sample; what cannot be compared is
refused before anything is trained.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from specdsl.diagnostics import SpecError, render
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.source import Source
from specdsl.training.emit.given import given_for
from specdsl.training.emit.script import script
from specdsl.training.plan.resolve import plans_of
from specdsl.training.sweep.ranges import split
from specdsl.training.sweep.run import Options, sweep
from specdsl.training.sweep.space import Choices, Interval
from tests.training.sweep.specs import KEEP, METHOD, SPEC, space, trainings


def refused(code: str, caught: pytest.ExceptionInfo[SpecError]) -> str:
    (found, *_) = caught.value.diagnostics
    assert found.code == code
    return render(found)


# --- trials ---------------------------------------------------------------------------------------


def test_a_trial_is_the_script_that_train_runs(tmp_path: Path) -> None:
    """Apart from the one thread, and from the folder that its files lie in."""
    (tmp_path / "digits.sweep").mkdir()
    task = trainings(tmp_path).task({"alpha": "0.3"})
    text = SPEC.replace("epochs = 2\n", "epochs = 2\n  threads = 1\n").replace("networks/", "")
    folder = tmp_path / "digits.sweep" / "trial"
    source = Source(str(folder / "digits.spec"), text)
    spec = check(parse(source), {"alpha": "0.3"}, base=folder, working_directory=folder)
    (plan,) = plans_of(spec)
    expected = script(plan, given_for(plan, spec, folder)).splitlines()
    written = task.text.splitlines()
    code = written.index("from __future__ import annotations")
    assert [line for line in written[code:] if line not in expected] == [
        f'RECIPE = "{task.recipe}"'
    ]
    assert len(expected) - expected.index(written[code]) == len(written) - code
    assert "THREADS = 1" in written
    assert 'HERE / "digits.safetensors"' in task.text


def test_no_trial_names_tested_samples(tmp_path: Path) -> None:
    unseen = SPEC.replace("digits[1500:1510]", "unseen[0:10]").replace(
        "property", 'dataset unseen: (Image, label[10]) = csv("u.csv", label = 64)\nproperty', 1
    )
    assert "unseen" not in trainings(tmp_path, unseen).task({"alpha": "0.3"}).text


def test_one_script_has_one_key_whatever_its_values_are_called(tmp_path: Path) -> None:
    made = trainings(tmp_path)
    assert made.task({"alpha": "1/10"}).key == made.task({"alpha": "0.1"}).key
    assert made.task({"alpha": "1/10"}).key != made.task({"alpha": "0.2"}).key
    ibp = "ibp(robust, r = eps)"
    keys = {made.task({"method": ibp, "alpha": alpha}).key for alpha in ("0.1", "0.2")}
    assert len(keys) == 1


def test_methods_are_written_out_like_those_of_the_file(tmp_path: Path) -> None:
    method = "mtl_ibp(robust, r = eps, alpha = 1/2)"
    by_option = trainings(tmp_path).task({"method": method})
    in_file = SPEC.replace(METHOD, f"  method = {method}")
    assert by_option.text == trainings(tmp_path, in_file).task({}).text


def test_what_trials_are_judged_by_is_said(tmp_path: Path) -> None:
    task = trainings(tmp_path).task({})
    assert task.judged == "robust(r = 1/16) on digits[1200:1500]"
    assert task.least_clean == Fraction(1, 2)
    chosen = trainings(tmp_path, on="digits[1000:1200]").task({})
    assert chosen.judged == "robust(r = 1/16) on digits[1000:1200]"
    assert '"held_out": digits[1000:1200],' in chosen.text


# --- what varies ----------------------------------------------------------------------------------


def test_texts_of_the_command_line_make_lists_and_intervals(tmp_path: Path) -> None:
    assert space(
        tmp_path,
        alpha="1/10..1/2",
        rate="1e-4..1e-2:log",
        width="12..14",
        eps="1/16",
    ) == (
        Interval("alpha", Fraction(1, 10), Fraction(1, 2)),
        Interval("rate", Fraction(1, 10**4), Fraction(1, 100), even_ratios=True),
        Choices("width", ("12", "13", "14")),
    )
    assert space(tmp_path, alpha="0..1:1/2", width="8..64:log") == (
        Choices("alpha", ("0", "1/2", "1")),
        Interval("width", Fraction(8), Fraction(64), even_ratios=True, whole=True),
    )
    methods = ("ibp(robust, r = eps)", "mtl_ibp(robust, r = eps, alpha = alpha)")
    assert space(tmp_path, method=f"one_of({', '.join(methods)})") == (Choices("method", methods),)


@pytest.mark.parametrize(
    ("name", "text", "code", "says"),
    [
        ("alpha", "1/10..2", "E0402", "outside [0, 1]"),
        ("alpha", "0..2:1", "E0402", "outside [0, 1]"),
        ("alpha", "one_of(0, 2)", "E0402", "outside [0, 1]"),
        ("alpha", "1..0", "E0860", "it goes up from its first end"),
        ("alpha", "0..1:log", "E0860", "numbers above 0"),
        ("alpha", "0..x", "E0860", "is not a sweep"),
        ("alhpa", "0..1", "E0206", "did you mean `alpha`?"),
        ("width", "1/2..8:log", "E0311", "a whole number"),
        ("method", "one_of(ibp(robust, r = eps), ipb(robust))", "E0804", "`ipb`"),
        ("alpha", "1/2", "E1110", "nothing varies"),
    ],
)
def test_what_is_no_sweep_is_refused(
    tmp_path: Path, name: str, text: str, code: str, says: str
) -> None:
    with pytest.raises(SpecError) as caught:
        space(tmp_path, **{name: text})
    assert says in refused(code, caught)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        space(tmp_path, alpha="1/10..2", width="100..200")
    assert [found.code for found in caught.value.diagnostics] == ["E0402", "E0402"]


# --- judging --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "on", "code", "says"),
    [
        (SPEC.replace(KEEP, ""), None, "E1110", "keeps no samples apart"),
        (SPEC.replace(KEEP, ""), "digits[1400:1505]", "E0721", "that a check tests"),
        (SPEC.replace(KEEP, ""), "digits[500:700]", "E1110", "they are trained on"),
        (SPEC, "digits[500:700]", "E1110", "they are trained on"),
        (SPEC, "robust", "E1110", "is no part of a dataset"),
        (SPEC, "digits[9:3]", "E1110", "holds no sample"),
        (SPEC, "digits[0:1/2]", "E1110", "counted from 0 by whole numbers"),
        (SPEC[: SPEC.index("train net")], None, "E0859", "trains nothing"),
        (
            SPEC.replace(METHOD, "  method = standard()").replace(KEEP, ""),
            "digits[1200:1500]",
            "E1110",
            "names no property to certify",
        ),
    ],
)
def test_without_samples_or_a_property_to_judge_by_nothing_runs(
    tmp_path: Path, text: str, on: str | None, code: str, says: str
) -> None:
    with pytest.raises(SpecError) as caught:
        trainings(tmp_path, text, on=on).task({})
    assert says in refused(code, caught)


def test_several_trainings_need_a_name(tmp_path: Path) -> None:
    block = SPEC[SPEC.index("network net") : SPEC.index("dataset")]
    train = SPEC[SPEC.index("train net") : SPEC.index("check forall")]
    claim = SPEC[SPEC.index("property") : SPEC.index("train net")].replace("net(z)", "other(z)")
    other = block.replace("net:", "other:") + claim + train.replace("train net", "train other")
    other = other.replace("robust", "sure").replace("digits.safetensors", "other.safetensors")
    text = SPEC + other
    with pytest.raises(SpecError) as caught:
        trainings(tmp_path, text).task({})
    assert "`--network net`" in refused("E0859", caught)
    assert "Trains `net`" in trainings(tmp_path, text, network="net").task({}).text


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_trials_that_certify_different_things_are_refused(tmp_path: Path, sampler: str) -> None:
    if sampler == "tpe":
        pytest.importorskip("optuna")
    made, varied = split(trainings(tmp_path), {"eps": "1/32..1/8"})
    with pytest.raises(SpecError) as caught:
        sweep(made, varied, Options(sampler), Refuses())  # type: ignore[arg-type]
    assert "one trial would be judged by" in refused("E1110", caught)


def test_a_property_that_a_parameter_changes_is_no_measure(tmp_path: Path) -> None:
    text = SPEC.replace("norm_ball(x, r, linf)", "norm_ball(x, r * alpha, linf)")
    made, varied = split(trainings(tmp_path, text), {"alpha": "1/32..1/8"})
    with pytest.raises(SpecError) as caught:
        sweep(made, varied, Options(), Refuses())
    assert "differs from trial to trial" in refused("E1110", caught)


def test_a_block_without_a_preset_has_none_to_vary(tmp_path: Path) -> None:
    text = SPEC.replace(METHOD, "  minimize certified_loss(robust, r = eps, by = ibp)")
    with pytest.raises(SpecError) as caught:
        space(tmp_path, text, method="one_of(ibp(robust, r = eps), standard())")
    assert "there is none" in refused("E1110", caught)


class Refuses:
    """An observer of a sweep that must not begin."""

    def started(self, task: object) -> None:
        raise AssertionError("nothing may run")

    def finished(self, trial: object, *, known: bool) -> None:
        raise AssertionError("nothing may run")
