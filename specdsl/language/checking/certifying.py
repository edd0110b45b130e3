"""`certify robust(r = eps) on data[0:1000] by ibp, crown, milp(timeout = 60 `s`)`: what comes after
training. Every stage is a proof; what is for training alone proves nothing here either.
"""

from __future__ import annotations

from dataclasses import replace

from specdsl.language import syntax
from specdsl.language.checking.settings import matched_word
from specdsl.language.checking.training_data import data_part, sample_types
from specdsl.language.checking.training_terms import Training, term
from specdsl.language.training_schemas import CERTIFIED_CLAIMS, CERTIFIERS
from specdsl.language.typing.names import quote


def certify(line: syntax.Certify, training: Training) -> None:
    """Check one `certify` line: its property, its samples and its stages, each of them once."""
    part = data_part(line.part, training.context)
    sample = sample_types(part.symbol) if part else ()
    if part is None or _comparable(line, sample, training):
        term(claim_call(line.claim), CERTIFIED_CLAIMS, replace(training, sample=sample))
    for number, stage in enumerate(line.stages):
        matched_word(stage, CERTIFIERS, "E0801", training.context)
        if stage in line.stages[:number]:
            message = f"the stage {quote(stage)} is given twice"
            first = line.stages[line.stages.index(stage)]
            secondary = [(first.span, "first given here")]
            training.context.error("E0803", message, stage.span, secondary=secondary)


def claim_call(claim: syntax.Expr) -> syntax.Expr:
    """`robust(r = eps)` as the word with a property in front that tables describe."""
    word = syntax.Name("certify", span=claim.span)
    if isinstance(claim, syntax.Call):
        return syntax.Call(word, (claim.function, *claim.arguments), span=claim.span)
    return syntax.Call(word, (claim,), span=claim.span)


def _comparable(line: syntax.Certify, sample: tuple[object, ...], training: Training) -> bool:
    """Whether the samples are labelled ones like those trained on; E0301 where they are not."""
    if not sample or not training.sample:
        return True
    if len(sample) > 1 and sample == training.sample:
        return True
    shown, wanted = (", ".join(map(str, kinds)) for kinds in (sample, training.sample))
    if len(sample) < 2:
        message = f"the samples of {quote(line.part)} have no labels"
        help = "what is certified is what is classified correctly"
    else:
        message = f"the samples of {quote(line.part)} are ({shown}), those trained on ({wanted})"
        help = None
    training.context.error("E0301", message, line.part.span, help=help)
    return False
