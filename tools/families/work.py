"""What a process does for one model type: record it, or hold embtool against it."""

import os
import warnings
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TQDM_DISABLE="1", TOKENIZERS_PARALLELISM="false")
warnings.filterwarnings("ignore")

import torch  # noqa: E402
import transformers  # noqa: E402

from families import compare, oracle, record, tiny  # noqa: E402


def quiet() -> None:
    """Keep transformers and torch from talking, and from taking all processors."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)


def recorded(asked: tuple[str, str | None]) -> tuple[str, dict[str, Any] | str | None]:
    """Return the facts of a model type, or why there are none; None where it takes no tokens."""
    kind = asked[0]
    try:
        if not tiny.classes(kind):
            return kind, None
        facts = record.record(kind)
        return kind, facts | record.experiments(kind, facts)
    except Exception as error:  # noqa: BLE001 - whatever a class does when it is made small
        return kind, f"{type(error).__name__}: {error}".split("\n")[0][:200]


def observed(asked: tuple[str, str | None]) -> tuple[str, Any]:
    """Return what was observed of the models of a type, for the tests."""
    kind, found = asked[0], []
    try:
        for variant, model, silent in compare.variants(kind) if tiny.classes(kind) else ():
            if variant in ORACLE_VARIANTS:
                found.append({"type": kind, "variant": variant, **oracle.of_model(model, silent=silent)})
    except Exception as error:  # noqa: BLE001
        return kind, found or f"{type(error).__name__}: {error}".split("\n")[0][:200]
    return kind, found


ORACLE_VARIANTS = ("main", "silent", "flipped", "bare")


def compared(asked: tuple[str, str | None]) -> tuple[str, Any]:
    """Return the count of comparisons of a model type, those that disagree, and those that embtool leaves open."""
    kind, only = asked
    try:
        if not tiny.classes(kind):
            return kind, (0, [], [])
        judges = list(compare.compare(kind, only))
    except Exception as error:  # noqa: BLE001
        return kind, (0, [f"{kind}: {type(error).__name__}: {error}"[:300]], [])
    return kind, (
        sum(j.count for j in judges),
        [w for j in judges for w in j.wrong],
        [f"{kind} {j.variant} {u}" for j in judges for u in j.undecided],
    )
