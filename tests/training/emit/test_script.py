"""Scripts that the runtime runs: what they look like, that all words train, and how they go on."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.run.exit_codes import ExitCode
from specdsl.training import api
from specdsl.training.certify.cascade import clean_accuracies
from specdsl.training.emit.names import TAKEN, free_name
from specdsl.training.runtime.loop.log import Log
from specdsl.training.runtime.networks.graph_module import from_onnx
from specdsl.training.runtime.networks.save import save_onnx, save_safetensors
from specdsl.version import __version__
from tests.conftest import Golden
from tests.training.emit.scripts import (
    HEAD,
    NETWORK,
    START,
    emitted,
    loaded,
    ruff,
    run,
    started,
    trained,
)
from tests.training.emit.words import BLOCKS, EVERYTHING, RAMP

CPU = torch.device("cpu")
SIMPLE = (
    START + RAMP + "let kappa = ramp(1, 0, epochs = 0..1)"
    " minimize kappa * clean_loss() + (1 - kappa) * certified_loss(robust, r = e)"
    " regularize 1/2 * shi(robust, r = e) + 1e-6 * l1(weights)"
    " keep best by certified(robust, r = eps) on digits[192:256] where clean_accuracy >= 1/20"
    ' save onnx("net.onnx") save safetensors("net.safetensors")'
)
CONVOLUTIONAL = """network net: Image -> real[10] {
  layer conv(2, kernel = 3, stride = 2)
  layer batch_norm
  layer relu
  layer flatten
  layer r1 = dense(8)
  layer dropout(1/10)
  layer relu
  layer dense(8)
  skip add(from = r1)
  layer dense(10)
}
"""
IMAGES = HEAD.replace("real[64]", "real[1, 8, 8]")


NORMALIZED = HEAD.replace("in [0, 1]", "in [0, 1] normalize (mean = 1/2, range = 1/4)")
TWO = HEAD.replace(
    "pixels: real[64] in [0, 1]",
    "a: real[3] in [0, 1] normalize (mean = 1/2, range = 1/4) b: real[61] in [0, 1]",
)
SCALED = HEAD.replace("1/20", "1/5").replace("in [0, 1]", "in [-2, 2]")
TEACHERS = """network big: Image -> real[10] = onnx("big.onnx")
network written: Image -> real[10] {
  layer dense(12)
  layer a1 = relu
  layer dense(10)
  weights = safetensors("written.safetensors")
}
"""


def rows(folder: Path, name: str = "emitted") -> list[dict[str, object]]:
    """The log of a run."""
    lines = (folder / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


# --- how it reads ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "body"), [("simple", SIMPLE), ("everything", EVERYTHING)])
def test_scripts_read_as_agreed(golden: Golden, tmp_path: Path, name: str, body: str) -> None:
    text = emitted(body, tmp_path).replace(f"specdsl {__version__}", "specdsl VERSION")
    golden.check(f"training/script_{name}.txt", re.sub(r"text:\w+", "text:...", text))


def test_what_is_written_needs_no_formatting(tmp_path: Path) -> None:
    for number, body in enumerate((*BLOCKS.values(), SIMPLE)):
        (tmp_path / f"s{number}.py").write_text(emitted(body, tmp_path))
    for number, head in enumerate((NORMALIZED, TWO)):
        (tmp_path / f"n{number}.py").write_text(emitted(EVERYTHING, tmp_path, head=head))
    (tmp_path / "images.py").write_text(emitted(SIMPLE, tmp_path, CONVOLUTIONAL, IMAGES))
    taught = (
        START + "minimize distillation_loss(teacher = big) + distillation_loss(teacher = written)"
    )
    (tmp_path / "taught.py").write_text(emitted(taught, tmp_path, TEACHERS + NETWORK, NORMALIZED))
    for arguments in (
        ("format", "--check"),
        ("check", "--select", "E,F,I,B,UP", "--output-format", "concise"),
    ):
        command = [ruff(), *arguments, "--isolated", "--line-length", "100", str(tmp_path)]
        found = subprocess.run(command, check=False, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout


def test_names_of_scripts_are_known() -> None:
    assert set(api.__all__) <= TAKEN
    assert free_name("samples") == "samples_"
    assert free_name("library.robust") == "library_robust"


def test_specs_may_use_names_that_scripts_have(tmp_path: Path) -> None:
    text = emitted(SIMPLE, tmp_path)
    renamed = emitted(SIMPLE.replace("robust", "interval"), tmp_path, taken=True)
    assert "def interval_(" in renamed
    assert "samples_ = samples(" in renamed
    one, other = trained(text, tmp_path, "one"), trained(renamed, tmp_path, "other")
    assert all(torch.equal(one[key], other[key]) for key in one)


# --- that it trains -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BLOCKS)
def test_every_word_trains(name: str, tmp_path: Path) -> None:
    module = loaded(emitted(BLOCKS[name], tmp_path), tmp_path)
    before = module.model()
    net = module.train(tmp_path / "emitted.onnx", CPU)
    last = rows(tmp_path)[-1]
    assert last["epoch"] == module.EPOCHS
    terms = last["terms"]
    assert isinstance(terms, dict)
    assert terms
    assert all(isinstance(value, float) for value in terms.values())
    after = net.module.state_dict()
    for key, value in before.state_dict().items():
        assert bool(after[key].isfinite().all())
        assert not torch.equal(after[key], value)


def test_the_log_tells_radius_multipliers_and_unstable_relus(tmp_path: Path) -> None:
    trained(emitted(EVERYTHING, tmp_path), tmp_path)
    found = rows(tmp_path)
    assert [row["eps"] for row in found] == sorted(row["eps"] for row in found)  # type: ignore[type-var]
    assert all(isinstance(row["unstable"], float) for row in found)
    for row in found:
        assert set(row["multipliers"]) == {"clean_error", "objective", "certified_error_3"}  # type: ignore[call-overload]


def test_the_log_tells_the_weights_of_balanced_losses(tmp_path: Path) -> None:
    body = START.replace("epochs = 2", "epochs = 3") + (
        "minimize balanced(1/2, certified_loss(robust, r = eps), clean_loss())"
    )
    trained(emitted(body, tmp_path), tmp_path)
    weights = [row["weights"]["balanced"] for row in rows(tmp_path)]  # type: ignore[index]
    assert weights[0] == pytest.approx(0.5)
    # Bounds lie above the clean loss: equal parts of the sum need a smaller weight of them.
    assert 0 < weights[1] < 0.5
    assert 0 < weights[2] < 0.5
    assert weights[1] != weights[2]


def test_networks_with_skips_normalisation_and_dropout_train(tmp_path: Path) -> None:
    for number, term in enumerate(
        (
            "certified_loss(robust, r = eps, by = crown_ibp)",
            "clean_loss() + adversarial_loss(robust, r = eps, by = pgd(steps = 2))",
        )
    ):
        text = emitted(f"{START}minimize {term}", tmp_path, CONVOLUTIONAL, IMAGES)
        trained(text, tmp_path, f"run{number}")
        assert rows(tmp_path, f"run{number}")[-1]["epoch"] == 2


def test_check_finds_no_mistake_in_a_good_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded(emitted(EVERYTHING, tmp_path), tmp_path).check()
    assert capsys.readouterr().out == "check: no mistake found\n"


def test_a_term_that_is_no_number_stops_with_epoch_and_name(tmp_path: Path) -> None:
    body = START.replace("lr = 5e-3", "lr = 1e30") + "minimize clean_loss()"
    with pytest.raises(SpecError, match=r"`clean_loss` is .* in epoch 1"):
        trained(emitted(body, tmp_path), tmp_path)


def test_a_script_that_breaks_down_says_why_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "net.train.py"
    body = START.replace("lr = 5e-3", "lr = 1e30") + "minimize clean_loss()"
    path.write_text(emitted(body, tmp_path))
    found = run(path)
    assert found.returncode == ExitCode.USAGE
    assert found.stderr.startswith("error[E1101]: `clean_loss` is ")
    assert "in epoch 1\n  = help: lower the learning rate" in found.stderr
    assert "Traceback" not in found.stderr


# --- units of the data and other networks ---------------------------------------------------------


@pytest.mark.parametrize(
    "term",
    [
        "clean_loss() + noisy_loss(0)",
        "certified_loss(robust, r = eps, by = crown_ibp)",
        "clean_loss() regularize relu_stability(eps)",
    ],
)
def test_inputs_that_a_space_normalizes_are_seen_normalized(term: str, tmp_path: Path) -> None:
    """Data in units of which the network takes four times as many, or in those of the network."""
    start = START.replace("adam(lr = 5e-3)", "sgd(lr = 1e-2, momentum = 9/10)")
    body = f"{start}init = default minimize {term} keep best by clean_accuracy() on digits[192:256]"
    one = trained(emitted(body, tmp_path, head=NORMALIZED), tmp_path, "one")
    plain = emitted(body, tmp_path, head=SCALED).replace("1 / 16, shift=0", "1 / 4, shift=-2")
    assert "shift=-2" in plain
    other = trained(plain, tmp_path, "other")
    for key, value in one.items():
        # Regions are rounded in other units.
        assert torch.allclose(value, other[key], atol=1e-4)
    clean = [row["clean"] for row in rows(tmp_path, "one")]
    assert clean == pytest.approx([row["clean"] for row in rows(tmp_path, "other")])


def test_fields_are_normalized_each_by_its_own_numbers(tmp_path: Path) -> None:
    module = loaded(emitted(START + "minimize clean_loss()", tmp_path, head=TWO), tmp_path)
    x = module.parts()["train"].inputs
    expected = torch.cat([4 * x[:, :3] - 2, x[:, 3:]], dim=1)
    assert torch.allclose(module.network_input(x), expected)
    net = module.train(tmp_path / "emitted.onnx", CPU)
    found = clean_accuracies(net, module.parts()["train"], point=module.network_input)[0]
    with torch.no_grad():
        right = net(expected).argmax(1) == module.parts()["train"].labels
    assert found == pytest.approx(float(right.float().mean()))


def test_normalized_networks_are_pruned_and_judged_in_their_units(tmp_path: Path) -> None:
    module = loaded(emitted(EVERYTHING, tmp_path, head=NORMALIZED), tmp_path)
    net = module.train(tmp_path / "emitted.onnx", CPU)
    samples = module.parts()["validation"]
    found = module.evaluate(net, samples)
    with torch.no_grad():
        right = net(4 * samples.inputs - 2).argmax(1) == samples.labels
    assert found.clean == int(right.sum())
    assert found.certified <= found.adversarial <= found.clean


def test_networks_in_files_teach(tmp_path: Path) -> None:
    first = loaded(emitted(START + "minimize clean_loss()", tmp_path), tmp_path)
    net = first.train(tmp_path / "first.onnx", CPU)
    save_onnx(net, tmp_path / "big.onnx", "recipe")
    save_safetensors(net.module, tmp_path / "written.safetensors", "recipe")
    network = TEACHERS + NETWORK
    terms = []
    for teacher in ("big", "written"):
        body = f"{START}minimize distillation_loss(teacher = {teacher}, temperature = 2)"
        trained(emitted(body, tmp_path, network), tmp_path, teacher)
        terms.append([row["terms"]["distillation_loss"] for row in rows(tmp_path, teacher)])  # type: ignore[index]
    assert terms[0] == pytest.approx(terms[1], rel=1e-5)
    assert terms[0][1] < terms[0][0]


def test_training_goes_on_from_weights_in_files(tmp_path: Path) -> None:
    first = loaded(emitted(START + "minimize clean_loss()", tmp_path), tmp_path)
    net = first.train(tmp_path / "first.onnx", CPU)
    save_onnx(net, tmp_path / "big.onnx", "recipe")
    save_safetensors(net.module, tmp_path / "written.safetensors", "recipe")
    body = START.replace("lr = 5e-3", "lr = 1e-12") + "minimize clean_loss()"
    x = first.parts()["train"].inputs
    for number, name in enumerate(("big", "written")):
        network = TEACHERS.replace(f"network {name}", "network net")
        module = loaded(emitted(body, tmp_path, network), tmp_path, f"further{number}")
        found = module.train(tmp_path / f"further{number}.onnx", CPU)
        with torch.no_grad():
            assert torch.allclose(found(x), net(x), atol=1e-4)


def test_a_pruned_network_is_saved_and_read_again(tmp_path: Path) -> None:
    module = loaded(emitted(BLOCKS["pruned"], tmp_path), tmp_path)
    net = module.train(tmp_path / "emitted.onnx", CPU)
    save_onnx(net, tmp_path / "pruned.onnx", "recipe")
    again = from_onnx(tmp_path / "pruned.onnx")
    x = module.parts()["train"].inputs
    with torch.no_grad():
        assert torch.allclose(again(x), net(x), atol=1e-5)
    with pytest.raises(SpecError, match="no pruned activations"):
        emitted(BLOCKS["pruned"] + ' save safetensors("n.safetensors")', tmp_path)


@pytest.mark.parametrize("network", ["file", "skips"])
def test_networks_of_files_and_with_skips_are_pruned(network: str, tmp_path: Path) -> None:
    body, text, head = BLOCKS["pruned"], CONVOLUTIONAL, IMAGES
    if network == "file":
        first = loaded(emitted(START + "minimize clean_loss()", tmp_path), tmp_path)
        net = first.train(tmp_path / "first.onnx", CPU)
        save_onnx(net, tmp_path / "big.onnx", "recipe")
        text, head = (
            TEACHERS.replace("network big", "network net").split("network written")[0],
            HEAD,
        )
    module = loaded(emitted(body, tmp_path, text, head), tmp_path)
    net = module.train(tmp_path / "emitted.onnx", CPU)
    assert any("switching" in key for key in net.module.state_dict())


def test_pruning_relus_of_a_network_without_any_is_refused_in_place(tmp_path: Path) -> None:
    linear = NETWORK.replace("  layer a1 = relu\n", "")
    with pytest.raises(SpecError, match="the network has none") as caught:
        emitted(BLOCKS["pruned"], tmp_path, linear)
    assert caught.value.diagnostics[0].primary is not None


def test_every_stage_has_its_learning_rate(tmp_path: Path) -> None:
    module = loaded(emitted(BLOCKS["rates of stages"], tmp_path), tmp_path)
    rates = [module.schedule(time).lr for time in (0.0, 0.9, 1.0, 1.5, 2.0)]
    assert rates == pytest.approx([5e-3, 5e-3, 1e-3, 5.5e-4, 1e-4])


# --- the same again -------------------------------------------------------------------------------


def test_two_runs_with_one_seed_give_the_same_weights(tmp_path: Path) -> None:
    text = emitted(SIMPLE, tmp_path)
    one, other = trained(text, tmp_path, "one"), trained(text, tmp_path, "other")
    different = trained(text.replace("SEED = 3", "SEED = 4"), tmp_path, "different")
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert any(not torch.equal(one[key], different[key]) for key in one)


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.mark.parametrize(
    ("name", "epoch"),
    [
        ("everything", 2),
        ("balanced", 1),
        ("optimisers of stages", 1),
        ("optimisers of stages", 2),
        ("pruned", 1),
        ("free(replays = 2, alpha = eps / 2)", 1),
        pytest.param("everything", 1, marks=pytest.mark.slow),
        pytest.param("constraints", 1, marks=pytest.mark.slow),
        pytest.param("preset xiao", 2, marks=pytest.mark.slow),
    ],
)
def test_what_was_killed_goes_on_to_the_same_weights(
    name: str, epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = emitted(BLOCKS[name], tmp_path)
    whole = trained(text, tmp_path, "whole")
    write = Log.write

    def killed(log: Log, record: object) -> None:
        if record.epoch == epoch + 1:  # type: ignore[attr-defined]
            raise Killed
        write(log, record)  # type: ignore[arg-type]

    monkeypatch.setattr(Log, "write", killed)
    with pytest.raises(Killed):
        trained(text, tmp_path, "halves")
    monkeypatch.setattr(Log, "write", write)
    halves = trained(text, tmp_path, "halves")
    assert halves.keys() == whole.keys()
    assert all(torch.equal(halves[key], whole[key]) for key in whole)
    logs = [
        [{k: v for k, v in row.items() if k != "cpu_seconds"} for row in rows(tmp_path, run)]
        for run in ("whole", "halves")
    ]
    assert logs[0] == logs[1]


@pytest.mark.slow
def test_a_killed_process_goes_on_and_saves_the_same_files(tmp_path: Path) -> None:
    body = SIMPLE.replace("epochs = 2 ", "epochs = 40 ").replace("0..1", "0..20")
    saved: list[bytes] = []
    for name in ("whole", "halves"):
        folder = tmp_path / name
        folder.mkdir()
        path = folder / "net.train.py"
        path.write_text(emitted(body, folder))
        if name == "halves":
            killed(path, folder / "net.jsonl")
        found = run(path)
        assert found.returncode == 0, found.stderr
        assert "kept: epoch" in found.stdout
        assert "validation: clean" in found.stdout
        assert (folder / "net.svg").exists()
        assert [row["epoch"] for row in rows(folder, "net")] == list(range(1, 41))
        saved += [(folder / f"net.{ending}").read_bytes() for ending in ("safetensors", "onnx")]
    assert saved[:2] == saved[2:]


def killed(path: Path, log: Path) -> None:
    """A run that is killed after some epochs."""
    process = started(path)
    for _ in range(600):
        if log.exists() and len(log.read_text().splitlines()) >= 3:
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert len(log.read_text().splitlines()) < 40


# --- layers of files ------------------------------------------------------------------------------


def test_values_of_files_are_named_as_layers_are(tmp_path: Path) -> None:
    net = loaded(emitted(START + "minimize clean_loss()", tmp_path), tmp_path)
    made = net.train(tmp_path / "first.onnx", CPU)
    save_onnx(made, tmp_path / "big.onnx", "recipe")
    graph = load_onnx((tmp_path / "big.onnx").read_bytes(), "big.onnx").graph
    (relu,) = [node for node, op, _ in graph if type(op) is ops.Relu]
    network = TEACHERS.replace("network big", "network net")
    taps = f'{START}minimize certified_loss(robust, r = eps, by = taps(after = "{relu}"))'
    trained(emitted(taps, tmp_path, network), tmp_path, "taps")
    assert rows(tmp_path, "taps")[-1]["epoch"] == 2


# --- targets that are numbers ---------------------------------------------------------------------

NUMBERS = """dataset digits: (Image, {target}) = npz("numbers.npz", inputs = "x", labels = "y")
property close(x, y, r) = forall z in norm_ball(x, r, linf) & Image: |net(z)[0] - y{entry}| <= 1/5
"""


@pytest.mark.parametrize(("target", "entry"), [("real[1]", "[0]"), ("real", "")])
def test_networks_are_trained_for_numbers(target: str, entry: str, tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    x = drawn.random((256, 64))
    np.savez(tmp_path / "numbers.npz", x=x, y=x.mean(1, keepdims=True))
    network = NETWORK.replace("real[10]", "real[1]").replace("dense(10)", "dense(1)")
    body = START + (
        "minimize clean_loss() + certified_loss(close, r = eps)"
        " keep best by certified(close, r = eps, by = ibp) on digits[192:256]"
    )
    rest = NUMBERS.format(target=target, entry=entry)
    module = loaded(emitted(body, tmp_path, network, rest=rest), tmp_path)
    net = module.train(tmp_path / "emitted.onnx", CPU)
    found = module.evaluate(net, module.parts()["validation"])
    assert found.clean is None
    assert 0 < found.certified <= found.adversarial
    with torch.no_grad():
        near = (net(torch.tensor(x[192:]).float())[:, 0] - torch.tensor(x[192:].mean(1))).abs()
    assert found.certified <= int((near <= 0.2).sum())
