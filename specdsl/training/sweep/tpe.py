"""Trials that learn from those before them: multi-objective TPE, by optuna.

Ozaki et al. 2022, "Multiobjective tree-structured Parzen estimator", doi:10.1613/jair.1.13188.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from specdsl.diagnostics import SpecError
from specdsl.training.sweep.journal import Trial
from specdsl.training.sweep.space import Choices, Dimension, Values

CONSTRAINT = "least_clean"
# Trials drawn at random before there is enough to learn from.
STARTUP = 10


class Tpe:
    """At most `trials` points of a space, chosen for clean and certified accuracy at once.

    `known`: trials of an earlier run, which count. With several workers a trial is chosen before
    the last ones are known, so that which ones come depends on what ends first; with one worker
    the seed settles all. Raises SpecError E1111 where optuna is not installed.
    """

    def __init__(
        self, space: Sequence[Dimension], trials: int, seed: int, known: Iterable[Trial] = ()
    ) -> None:
        self._optuna = _optuna()
        self._space = space
        self._open: dict[tuple[str, ...], list[Any]] = {}
        past = [trial for trial in known if trial.accuracies is not None and self._fits(trial)]
        self._left = max(0, trials - len(past))
        # Else a sweep that goes on would draw what it began with once more.
        sampler = self._optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed + len(past))
        self._study = self._optuna.create_study(
            directions=["maximize", "maximize"], sampler=sampler
        )
        for trial in past:
            self._add(trial)

    def ask(self) -> Values | None:
        """The next point, None after the last."""
        if not self._left:
            return None
        self._left -= 1
        asked = self._study.ask(self._distributions())
        values = {each.name: self._text(each, asked.params[each.name]) for each in self._space}
        self._open.setdefault(tuple(values.values()), []).append(asked)
        return values

    def tell(self, values: Values, trial: Trial) -> None:
        """Learn from a trial that was asked for."""
        asked = self._open[tuple(values.values())].pop()
        found = trial.accuracies
        if found is None:
            self._study.tell(asked, state=self._optuna.trial.TrialState.FAIL)
            return
        for name, excess in _constraints(trial).items():
            asked.set_constraint(name, excess)
        self._study.tell(asked, [found.clean, found.certified])

    def _distributions(self) -> dict[str, Any]:
        made = self._optuna.distributions
        return {
            each.name: made.CategoricalDistribution(each.texts)
            if isinstance(each, Choices)
            else made.FloatDistribution(0.0, 1.0)
            for each in self._space
        }

    def _text(self, dimension: Dimension, drawn: Any) -> str:
        return str(drawn) if isinstance(dimension, Choices) else dimension.at(float(drawn))

    def _fits(self, trial: Trial) -> bool:
        """Whether it is a point of this space, as far as texts say."""
        return set(trial.parameters) == {each.name for each in self._space} and all(
            trial.parameters[each.name] in each.texts
            for each in self._space
            if isinstance(each, Choices)
        )

    def _add(self, trial: Trial) -> None:
        """A trial of an earlier run, as if it had been asked for."""
        found = trial.accuracies
        assert found is not None, "trials that failed were left out"
        params = {
            each.name: trial.parameters[each.name]
            if isinstance(each, Choices)
            else each.share(trial.parameters[each.name])
            for each in self._space
        }
        self._study.add_trial(
            self._optuna.trial.create_trial(
                params=params,
                distributions=self._distributions(),
                values=[found.clean, found.certified],
                constraints=_constraints(trial),
            )
        )


def _constraints(trial: Trial) -> dict[str, float]:
    """How much clean accuracy is missing; 0 and less is none."""
    if trial.least_clean is None or trial.clean is None:
        return {}
    return {CONSTRAINT: trial.least_clean - trial.clean}


def _optuna() -> Any:
    """The library, without a line of its own for each trial. Raises SpecError E1111."""
    try:
        # An extra: where it is not installed, its types are not there either.
        import optuna  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        message = "the sampler `tpe` needs optuna, which is not installed"
        help_ = "install it with `pip install specdsl[sweep]`, or take `--sampler random`"
        raise SpecError.of("E1111", message, help=help_) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
