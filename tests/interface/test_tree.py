"""The READMEs against the tree: listed paths, set-up commands, and equal structure in both languages."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "src/impasto/"
READMES = ("README.md", "README.zh-CN.md")


def blocks(readme: str, language: str) -> list[str]:
    """The contents of the fenced blocks of one language."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def tree(readme: str) -> dict[str, str]:
    """Path to purpose in the tree of a README; folders end in a slash."""
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
    """The blocks that begin with a clone."""
    return [block for block in blocks(readme, "sh") if block.startswith("git clone ")]


@pytest.mark.parametrize("readme", READMES)
def test_the_tree_has_all_folders_of_the_package_and_only_existing_paths(readme: str) -> None:
    files = {path for path in (ROOT / PACKAGE).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    folders = {f"{path.parent.relative_to(ROOT).as_posix()}/" for path in files}
    listed = tree(readme)
    assert folders - set(listed) == set()
    assert [path for path in listed if not (ROOT / path).exists()] == []
    assert [path for path, purpose in listed.items() if not purpose] == []


@pytest.mark.parametrize("readme", READMES)
def test_the_tree_has_all_top_level_folders(readme: str) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs a clone")
    command = ["git", "-c", "safe.directory=*", "ls-files"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    folders = {path.partition("/")[0] for path in tracked if "/" in path}
    assert {path.partition("/")[0] for path in tree(readme)} >= folders


@pytest.mark.parametrize("readme", READMES)
def test_the_two_set_up_commands_are_one_line_each(readme: str) -> None:
    commands = setup_commands(readme)
    assert [command.count("\n") for command in commands] == [1, 1]
    images, tests = commands
    assert "impasto mix icons" in images
    assert tests.rstrip().endswith('-m pytest -m "slow or not slow"'), "both rings"


def test_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    command = setup_commands("README.md")[1].strip().partition("cd impasto && ")[2]
    assert command and command in script.read_text(encoding="utf-8").splitlines()
    assert script.stat().st_mode & 0o100, ".ci/run is not executable"


def test_the_readmes_have_equal_structure() -> None:
    english, chinese = ((ROOT / readme).read_text(encoding="utf-8") for readme in READMES)
    for language in ("sh", "python", "json"):
        assert blocks("README.md", language) == blocks("README.zh-CN.md", language)
    assert list(tree("README.md")) == list(tree("README.zh-CN.md"))
    headings = [re.findall(r"^#+ ", text, re.MULTILINE) for text in (english, chinese)]
    assert headings[0] == headings[1]
    images = [re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text) for text in (english, chinese)]
    assert images[0] == images[1]
