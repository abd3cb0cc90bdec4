"""The README tells the truth about the tree and the two set-up commands, in both languages."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "src/impasto/"
READMES = ("README.md", "README.zh-CN.md")


def blocks(readme: str, language: str) -> list[str]:
    """The fenced code of one language, without the fences."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def tree(readme: str) -> dict[str, str]:
    """Path to purpose, as the README prints them; folders end in a slash."""
    (block,) = (block for block in blocks(readme, "text") if block.startswith(PACKAGE))
    found: dict[str, str] = {}
    parents: list[str] = []
    for line in block.splitlines():
        match = re.fullmatch(r"( *)(\S+)(?: +(.*))?", line)
        assert match, line
        depth = len(match[1]) // 2
        parents = parents[:depth]
        path = "".join(parents) + match[2]
        assert path not in found, f"{path} is listed twice"
        found[path] = match[3] or ""
        if path.endswith("/"):
            parents.append(match[2])
    return found


def setup_commands(readme: str) -> list[str]:
    """The blocks that start from nothing."""
    return [block for block in blocks(readme, "sh") if block.startswith("git clone ")]


@pytest.mark.parametrize("readme", READMES)
def test_the_printed_tree_is_complete_and_has_nothing_else(readme: str) -> None:
    # A folder's line speaks for its __init__.py.
    files = {path for path in (ROOT / PACKAGE).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    names = {path.relative_to(ROOT).as_posix() for path in files if path.name != "__init__.py"}
    parents = {parent for path in names for parent in Path(path).parents if parent.is_relative_to(PACKAGE)}
    folders = {f"{parent.as_posix()}/" for parent in parents}
    listed = tree(readme)
    inside = {path for path in listed if path.startswith(PACKAGE)}
    assert inside == names | folders
    assert [path for path in listed if not (ROOT / path).exists()] == []
    assert [path for path, purpose in listed.items() if not purpose] == []


@pytest.mark.parametrize("readme", READMES)
def test_the_printed_tree_lists_every_top_level_folder(readme: str) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("only a clone knows which folders belong to the project")
    command = ["git", "-c", "safe.directory=*", "ls-files"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    folders = {path.partition("/")[0] for path in tracked if "/" in path}
    assert {path.partition("/")[0] for path in tree(readme)} >= folders


@pytest.mark.parametrize("readme", READMES)
def test_the_two_set_up_commands_are_one_line_each(readme: str) -> None:
    commands = setup_commands(readme)
    assert [command.count("\n") for command in commands] == [1, 1]
    images, tests = commands
    assert "impasto generate icons" in images
    assert tests.rstrip().endswith('-m pytest -m "slow or not slow"'), "both rings"


def test_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    command = setup_commands("README.md")[1].strip().partition("cd impasto && ")[2]
    assert command and command in script.read_text(encoding="utf-8").splitlines()
    assert script.stat().st_mode & 0o100, ".ci/run is not executable"


def test_the_readmes_are_twins() -> None:
    english, chinese = ((ROOT / readme).read_text(encoding="utf-8") for readme in READMES)
    for language in ("sh", "python", "json"):
        assert blocks("README.md", language) == blocks("README.zh-CN.md", language)
    assert list(tree("README.md")) == list(tree("README.zh-CN.md"))
    headings = [re.findall(r"^#+ ", text, re.MULTILINE) for text in (english, chinese)]
    assert headings[0] == headings[1]
    images = [re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text) for text in (english, chinese)]
    assert images[0] == images[1]
