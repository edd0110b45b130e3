"""Several networks that one block trains: how scripts read, that they train, what checks read."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from specdsl.diagnostics import SpecError
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.language.spec import Spec
from specdsl.query.elaboration.values.resources import Resources
from specdsl.run.trained import stale_networks
from specdsl.source import Source
from specdsl.training.api import Together, Trainable, save_onnx, save_safetensors
from specdsl.training.emit.given import given_for
from specdsl.training.emit.script import script
from specdsl.training.emit.standalone import standalone
from specdsl.training.plan.resolve import plans_of
from specdsl.version import __version__
from tests.conftest import Golden
from tests.training.emit.scripts import HEAD, START, loaded, ruff

NETWORKS = """network body: Image -> real[12] { layer dense(12)  layer a1 = relu }
network mean: real[12] -> real[4] { layer dense(4)  init = ibp(seed = 2) }
network spread: real[12] -> real[4] { layer dense(4) }
network head: real[4] -> real[10] { layer a2 = relu  layer dense(10) }
network decoder: real[4] -> Image { layer dense(16)  layer relu  layer dense(64)  layer sigmoid }
let encoder = body >> mean
network model: Image -> real[10] = encoder >> head
"""
REST = """dataset digits: (Image, label[10]) = sklearn("digits") { scale = 1/16 }
property robust(x, y, r) = forall z in norm_ball(x, r, linf) & Image: argmax(model(z)) == y
"""
AE = "model, decoder", "minimize clean_loss() + 5 * reconstruction_loss(encoder >> decoder)"
VAE = (
    "model, spread, decoder",
    "let code = normal(log_deviation = spread, mean = mean)"
    " minimize clean_loss(body >> code >> head) + 5 * reconstruction_loss(body >> code >> decoder)"
    " + 1/50 * kl_loss(body >> code)",
)
EVERYTHING = (
    "model, spread, decoder",
    "let e = ramp(0, eps, epochs = 0..1) let weight = 5 * e / eps"
    " let code = normal(body >> mean, body >> spread) init = ibp"
    " minimize clean_loss() + weight * reconstruction_loss(code >> decoder)"
    " + weight / 50 * kl_loss(code) + certified_loss(robust, r = e, by = taps(after = a2))"
    " regularize 1e-5 * l1(weights) + 1/2 * shi(robust, r = e)"
    " constrain reconstruction_loss(encoder >> decoder) <= 1/10"
    " keep best by certified(robust, r = eps) on digits[192:256]",
)
SAVE = ' save safetensors("m.safetensors") save onnx("m.onnx")'
CPU = torch.device("cpu")
# Of outputs in float32, against the same in exact rationals.
CLOSE = 1e-4


def spec_of(
    block: tuple[str, str],
    folder: Path,
    networks: str = NETWORKS,
    head: str = HEAD,
    after: str = "",
) -> Spec:
    trained, lines = block
    text = f"{head}{networks}{REST}train {trained} on digits[0:192] {{ {START}{lines} }}\n{after}"
    source = Source(str(folder / "t.spec"), text)
    return check(parse(source), {}, base=folder, working_directory=folder)


def text_of(
    block: tuple[str, str], folder: Path, networks: str = NETWORKS, head: str = HEAD
) -> str:
    spec = spec_of(block, folder, networks, head)
    (plan,) = plans_of(spec)
    return script(plan, given_for(plan, spec, folder))


def trained(text: str, folder: Path, name: str = "emitted") -> Trainable:
    net = loaded(text, folder, name).train(folder / f"{name}.onnx", CPU)
    assert isinstance(net, Trainable)
    return net


def weights(net: Trainable) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in net.module.state_dict().items()}


def assert_read(spec: Spec, networks: Together, name: str) -> None:
    """A check reads the network as it was trained."""
    resources = Resources()
    read = resources.network(spec, name)
    point = torch.linspace(-1, 1, read.inputs[0].size)
    exact = np.array([Fraction(float(v)) for v in point], dtype=object)
    (found,) = resources.evaluate(read, [exact])
    wanted = networks[name](point[None])[0].tolist()
    assert [float(v) for v in found] == pytest.approx(wanted, abs=CLOSE)


# --- how it reads ---------------------------------------------------------------------------------


def test_scripts_of_several_networks_read_as_agreed(golden: Golden, tmp_path: Path) -> None:
    text = text_of((VAE[0], VAE[1] + SAVE), tmp_path)
    golden.check(
        "training/script_together.txt", text.replace(f"specdsl {__version__}", "specdsl VERSION")
    )


def test_what_is_written_needs_no_formatting(tmp_path: Path) -> None:
    for name, block in (("ae", AE), ("vae", VAE), ("everything", EVERYTHING)):
        (tmp_path / f"{name}.py").write_text(text_of(block, tmp_path))
    for arguments in (("format", "--check"), ("check", "--select", "E,F,I,B,UP")):
        command = [ruff(), *arguments, "--isolated", "--line-length", "100", str(tmp_path)]
        found = subprocess.run(command, check=False, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout


# --- that it trains -------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [AE, VAE, EVERYTHING], ids=["ae", "vae", "everything"])
def test_two_runs_with_one_seed_give_the_same_weights(
    block: tuple[str, str], tmp_path: Path
) -> None:
    text = text_of(block, tmp_path)
    before = loaded(text, tmp_path).model().state_dict()
    one, other = (weights(trained(text, tmp_path, name)) for name in ("one", "other"))
    again = weights(trained(text, tmp_path, "one"))  # goes on where it was: at its end
    assert set(one) == set(before)
    for name, value in one.items():
        assert bool(value.isfinite().all())
        assert not torch.equal(value, before[name])
        assert torch.equal(value, other[name])
        assert torch.equal(value, again[name])


def test_bounds_of_a_composition_hold_at_points(tmp_path: Path) -> None:
    loaded(text_of(EVERYTHING, tmp_path), tmp_path).check()


def through(module: nn.Module, x: np.ndarray) -> np.ndarray:
    """What a chain of layers makes of rows, in numpy."""
    for layer in module.children():
        if isinstance(layer, nn.Linear):
            weight, bias = (t.detach().double().numpy() for t in (layer.weight, layer.bias))
            x = x @ weight.T + bias
        elif isinstance(layer, nn.ReLU):
            x = np.maximum(x, 0)
        else:
            assert isinstance(layer, nn.Sigmoid)
            x = 1 / (1 + np.exp(-x))
    return x


def cross_entropy(scores: np.ndarray, y: np.ndarray) -> float:
    shifted = scores - scores.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(y)), y]).mean())


@pytest.mark.parametrize("block", [AE, VAE], ids=["ae", "vae"])
def test_losses_are_those_of_numpy(block: tuple[str, str], tmp_path: Path) -> None:
    module = loaded(text_of(block, tmp_path), tmp_path)
    torch.manual_seed(0)
    net = Trainable.of(module.model(), (64,))
    part = module.parts()["train"][0:48]
    found = module.losses_all(
        net, part.inputs, part.targets, module.schedule(0.0), torch.Generator().manual_seed(7)
    )
    networks = Together.of(net)
    x, y = part.inputs.double().numpy(), part.targets.numpy()
    hidden = through(networks["body"], x)
    mean, code = (through(networks["mean"], hidden) for _ in range(2))
    wanted: dict[str, float] = {}
    if block is VAE:
        log_deviation = through(networks["spread"], hidden)
        noise = torch.randn(48, 4, generator=torch.Generator().manual_seed(7)).double().numpy()
        code = mean + np.exp(log_deviation) * noise
        divergence = (np.exp(2 * log_deviation) + mean**2 - 1) / 2 - log_deviation
        wanted["kl_loss"] = divergence.sum(1).mean() / 50
    wanted["clean_loss"] = cross_entropy(through(networks["head"], code), y)
    made = through(networks["decoder"], code)
    wanted["reconstruction_loss"] = 5 * float(((made - x) ** 2).mean())
    assert {n: float(v.detach()) for n, v in found.items()} == pytest.approx(wanted, abs=1e-5)


def test_networks_that_are_not_trained_stay_and_pass_gradients_on(tmp_path: Path) -> None:
    kept = nn.Sequential(nn.Linear(4, 64))
    save_onnx(Trainable.of(kept, (4,)), tmp_path / "kept.onnx", "none")
    networks = NETWORKS + 'network kept: real[4] -> Image = onnx("kept.onnx")\n'
    block = "model", "minimize reconstruction_loss(encoder >> kept)"
    text = text_of(block, tmp_path, networks)
    module = loaded(text, tmp_path)
    torch.manual_seed(module.SEED)
    before = module.model().state_dict()
    after = weights(trained(text, tmp_path))
    assert {name.partition(".")[0] for name in after} == {"body", "mean", "head"}
    assert torch.equal(after["head.1.bias"], before["head.1.bias"])
    assert not torch.equal(after["body.0.weight"], before["body.0.weight"])


def test_decoders_may_be_convolutional(tmp_path: Path) -> None:
    networks = """network encoder: Image -> real[16] {
  layer conv(4, kernel = 4, stride = 4)  layer relu  layer flatten
}
network head: real[16] -> real[10] { layer dense(10) }
network decoder: real[16] -> Image {
  layer reshape([4, 2, 2])
  layer conv_transpose(1, kernel = 4, stride = 4)
  layer sigmoid
}
let model = encoder >> head
"""
    head = HEAD.replace("real[64]", "real[1, 8, 8]")
    block = AE[0], AE[1] + " + certified_loss(robust, r = eps)" + SAVE
    spec = spec_of(block, tmp_path, networks, head)
    net = trained(text_of(block, tmp_path, networks, head), tmp_path)
    save_safetensors(net.module, tmp_path / "m.safetensors", "none")
    read = Resources().network(spec, "decoder")
    point = [Fraction(k, 8) for k in range(16)]
    (found,) = Resources().evaluate(read, [np.array(point, dtype=object)])
    with torch.no_grad():
        wanted = Together.of(net)["decoder"](torch.tensor([[float(v) for v in point]]))
    assert [float(v) for v in found] == pytest.approx(wanted.flatten().tolist(), abs=CLOSE)


def test_samples_are_normalised_for_the_first_network(tmp_path: Path) -> None:
    head = HEAD.replace("in [0, 1]", "in [0, 1] normalize (mean = 1/2, range = 1/4)")
    networks = NETWORKS.replace("-> Image", "-> real[64]")
    text = text_of(VAE, tmp_path, networks, head)
    assert 'through(network_input(x), "body")' in text
    assert "reconstruction_loss(outputs_2, x)" in text
    loaded(text, tmp_path).check()


# --- names ----------------------------------------------------------------------------------------


MODULE = HEAD.replace("param eps: real = 1/20\n", "") + (
    """network encoder: Image -> real[8] {
  layer d1 = dense(8)
  layer batch_norm
  layer a = relu
  layer dense(8)
  skip add(from = d1)
}
network head: real[8] -> real[10] { layer a = relu  layer dense(10) }
network type: real[8] -> Image { layer dense(64)  layer sigmoid }
let model = encoder >> head
dataset digits: (Image, label[10]) = sklearn("digits") { scale = 1/16 }
"""
)


def imported(after: str, folder: Path) -> Spec:
    """A file that trains networks of another one. A skip, a name that modules have for themselves
    and statistics of the batch are among them.
    """
    (folder / "parts.spec").write_text(MODULE)
    text = (
        'spec 1.0\nimport "parts.spec" as p\n'
        "property robust(x, y) = forall z in norm_ball(x, 1/20, linf) & p.Image:"
        " argmax(p.model(z)) == y\n"
        f"train p.model, p.type on p.digits[0:192] {{ {START} minimize clean_loss()"
        " + reconstruction_loss(p.encoder >> p.type)"
        f" + certified_loss(robust, by = taps(after = {after}))"
        ' save safetensors("m.safetensors") }'
    )
    source = Source(str(folder / "t.spec"), text)
    return check(parse(source), {}, base=folder, working_directory=folder)


def test_networks_of_modules_are_trained_and_read(tmp_path: Path) -> None:
    spec = imported('"p.head.a"', tmp_path)
    (plan,) = plans_of(spec)
    text = script(plan, given_for(plan, spec, tmp_path))
    assert "LatentAttack(after=2" in text
    net = trained(text, tmp_path)
    save_safetensors(net.module, tmp_path / "m.safetensors", plan.recipe)
    networks = Together.of(net).eval()
    assert networks.names == ("p.encoder", "p.head", "p.type")
    for name in networks.names:
        assert_read(spec, networks, name)
    assert not list(stale_networks(spec))
    save_safetensors(net.module, tmp_path / "m.safetensors", "another")
    (warning,) = stale_networks(spec)
    assert "`p.model`" in warning.message


def test_properties_may_be_called_as_variables_are(tmp_path: Path) -> None:
    lines = VAE[1].replace("minimize", "minimize certified_loss(inner, r = eps) +", 1)
    rest = REST.replace("robust", "inner").replace("model", "whole")
    networks = NETWORKS.replace("model", "whole")
    text = (
        f"{HEAD}{networks}{rest}train whole, spread, decoder on digits[0:192] {{ {START}{lines} }}"
    )
    source = Source(str(tmp_path / "t.spec"), text)
    spec = check(parse(source), {}, base=tmp_path, working_directory=tmp_path)
    (plan,) = plans_of(spec)
    loaded(script(plan, given_for(plan, spec, tmp_path)), tmp_path).check()


def test_layers_of_one_name_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="E0620") as error:
        plans_of(imported("a", tmp_path))
    assert '"p.encoder.a"' in str(error.value.diagnostics[0].help)


# --- what a check reads ---------------------------------------------------------------------------


@pytest.mark.parametrize("block", [AE, VAE], ids=["ae", "vae"])
def test_checks_read_each_network_from_the_one_file(block: tuple[str, str], tmp_path: Path) -> None:
    block = block[0], block[1] + SAVE
    spec = spec_of(block, tmp_path)
    net = trained(text_of(block, tmp_path), tmp_path)
    save_safetensors(net.module, tmp_path / "m.safetensors", "none")
    for name in Together.of(net).names:
        assert_read(spec, Together.of(net), name)


def test_a_single_network_may_stand_in_its_own_losses(tmp_path: Path) -> None:
    """Then it is saved as ever, without its name in front."""
    networks = (
        "network model: Image -> real[10] { layer dense(10) }\n"
        'network kept: real[10] -> Image = onnx("kept.onnx")\n'
    )
    kept = Trainable.of(nn.Sequential(nn.Linear(10, 64)), (10,))
    save_onnx(kept, tmp_path / "kept.onnx", "none")
    block = "model", "minimize reconstruction_loss(model >> kept)" + SAVE
    spec = spec_of(block, tmp_path, networks)
    net = trained(text_of(block, tmp_path, networks), tmp_path)
    save_safetensors(net.module, tmp_path / "m.safetensors", "none")
    assert Resources().network(spec, "model").outputs[0].size == 10


def test_onnx_holds_the_whole_and_none_of_its_parts(tmp_path: Path) -> None:
    net = trained(text_of(AE, tmp_path), tmp_path)
    save_onnx(net, tmp_path / "m.onnx", "none")
    spec = spec_of((AE[0], AE[1] + ' save onnx("m.onnx")'), tmp_path)
    with pytest.raises(SpecError, match="E0623") as error:
        Resources().network(spec, "decoder")
    assert "save safetensors" in str(error.value.diagnostics[0].help)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "lines", "why"),
    [
        ("", "minimize clean_loss() prune relus(stable = 9/10, r = eps)", "activations of one"),
        ("file", "minimize clean_loss()", "is in a file"),
        ("space", "minimize clean_loss() + reconstruction_loss(encoder >> decoder)", "normalize"),
    ],
)
def test_what_cannot_be_trained_together_is_refused(
    change: str, lines: str, why: str, tmp_path: Path
) -> None:
    networks, head = NETWORKS, HEAD
    if change == "file":
        networks = networks.replace("{ layer dense(4) }", '= onnx("spread.onnx")')
    if change == "space":
        head = HEAD.replace("in [0, 1]", "in [0, 1] normalize (mean = 1/2, range = 1/4)")
    with pytest.raises(SpecError, match="E0901") as error:
        text_of(
            ("model, spread, decoder", lines + ' save onnx("m.onnx")'), tmp_path, networks, head
        )
    assert why in str(error.value)


def test_plain_scripts_train_one_network(tmp_path: Path) -> None:
    spec = spec_of(AE, tmp_path)
    (plan,) = plans_of(spec)
    with pytest.raises(SpecError, match="E0901") as error:
        standalone(plan, given_for(plan, spec, tmp_path))
    assert "train one network" in str(error.value)
