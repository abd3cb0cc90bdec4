"""The words of the code and its docs: terms of the field, plain technical English, one word for one thing."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
BANNED = {
    # Words of version 0.1 and the terms that replaced them, see docs/glossary.md.
    "condition, expert output": r"told|heard|hears",
    "unconditional": r"silent(ly)?|silence",
    "internal guidance": r"clarity",
    "intermediate head": r"drafts?",
    "guidance interval": r"pushed until|pushed_until",
    "conditioning scale": r"harmony",
    "num_shifts": r"num_passes|--passes",
    "grid artefacts": r"weave",
    "random affine augmentation": r"glimpses?",
    "destylised copy, destylised pair": r"twins?|plainness",
    "swap": r"mixtures?|mixed_\w+",
    "discriminator, evaluator": r"judges?|judged|verdicts?",
    "features, statistics": r"looks|look_\w+",
    "collection": r"makers?",
    "auxiliary predictor": r"style ?reader|caption ?reader",
    "linear skip": r"sketch(es)?|glances?",
    "expert attenuation": r"fades|faded",
    "temporal smoothing": r"steady",
    "max_, min_, num_": r"(most|least|fewest)_\w+",
    "finetune, init": r"start_from|--start-from",
    "freeze_encoders_after, freeze_prior": r"encoders_until|prior_stays|redraws_alone",
    "interval timer, converged, auxiliary": r"chores?|settled|assistants?",
    "decode, reconstruction, output": r"paint|paints|painted|repaint\w*",
    "stylize": r"redraw\w*|redrew",
    "fingerprint": r"identity_of",
    "image": r"pictures?",
    # Plain technical English.
    "must, is": r"shall",
    "again, from scratch": r"anew",
    "a number": r"so many|nobody|of which nobody",
}
FREE = re.compile(
    r"CHANGELOG\.md|docs/experiments/|docs/glossary\.md|src/impasto/migration\.py|src/impasto/cli/flags\.py"
    r"|src/impasto/web/static/|README\.zh-CN\.md"
)
"""Where old names are listed as such; the page may say picture."""
ALLOWED = {
    "src/impasto/web/": {"image"},
}
"""The studio's own interface, by prefix: what may stay there."""


OTHER_WORDS = re.compile(
    r"https?://\S+|\S+\.(?:png|jpe?g|webp|svg)\b|--out pictures|Path\(.pictures.\)|image\.draft\(|`draft`"
)
"""Addresses, names of files, the default of --out, and a method of Pillow."""


def lines() -> list[tuple[str, int, str]]:
    """Every line of the package, the READMEs and the docs."""
    names = ["src/impasto/*.py", "README.md", "docs/*.md", "src/impasto/models/*.md", "benchmarks/*.py", "recipes/*.py"]
    files = subprocess.run(["git", "ls-files", *names], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [
        (file, number, line)
        for file in files.splitlines()
        if not FREE.search(file) and (ROOT / file).exists()
        for number, line in enumerate((ROOT / file).read_text(encoding="utf-8").splitlines(), start=1)
    ]


def found(file: str, line: str) -> list[str]:
    """The banned words of a line, with what to write instead."""
    allowed = {instead for prefix, words in ALLOWED.items() if file.startswith(prefix) for instead in words}
    # Words within longer names count too: a name is words joined by underscores.
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", OTHER_WORDS.sub("", line))
    return [
        f"{match[0]!r} -> {instead}"
        for instead, pattern in BANNED.items()
        if instead not in allowed
        for match in [re.search(rf"(?<![a-z])(?:{pattern})(?![a-z])", text, re.IGNORECASE)]
        if match is not None
    ]


def test_banned_words_are_found() -> None:
    assert found("src/impasto/x.py", "def redraw_alone(picture: Map)")
    assert found("src/impasto/x.py", "class StyleReader") and found("src/impasto/x.py", "MOST_PIXELS = 3")
    assert not found("src/impasto/x.py", "the painter's images are decoded, then the mask is drawn")
    assert not found("src/impasto/web/x.py", "def get_pictures()")


def test_no_banned_words() -> None:
    wrong = [f"{file}:{number}: {word}" for file, number, line in lines() for word in found(file, line)]
    assert not wrong, f"{len(wrong)} words:\n" + "\n".join(wrong[:40])
