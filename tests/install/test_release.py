"""The statements of a release about itself are true: versions, classifiers, lower bounds, and the workflow that publishes it.

`make wheels` builds the wheels, and tries them in bare environments.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from trove_classifiers import classifiers as known_classifiers

import streamkit
from tests.install import version, wheels

ROOT = Path(__file__).parents[2]
PROJECTS = {
    str(path.parent.relative_to(ROOT)): path
    for path in [ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]
}
WORKFLOW = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")


def project(path: Path) -> dict[str, object]:
    found: dict[str, object] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return found


def test_the_version_is_stated_once() -> None:
    assert version.stated() == streamkit.__version__
    assert project(ROOT / "pyproject.toml")["dynamic"] == ["version"]
    assert "version" not in project(ROOT / "pyproject.toml")


def test_only_the_tag_of_the_version_is_released(capsys: pytest.CaptureFixture[str]) -> None:
    assert version.main(f"v{streamkit.__version__}") == 0
    assert version.main("v99.0.0") == 1
    assert capsys.readouterr().err == f"the tag is v99.0.0, the version of the package {streamkit.__version__}\n"


@pytest.mark.parametrize("path", PROJECTS.values(), ids=PROJECTS)
def test_the_classifiers_exist_and_name_the_pythons_that_are_tested(path: Path) -> None:
    found = project(path)["classifiers"]
    assert isinstance(found, list)

    assert set(found) <= set(known_classifiers)
    pythons = {name.rpartition(" :: ")[2] for name in found if re.search(r":: Python :: 3\.\d+$", name)}
    assert pythons == set(wheels.PYTHONS)
    assert "Operating System :: OS Independent" not in found, "it is tested on Linux alone"


@pytest.mark.parametrize("path", PROJECTS.values(), ids=PROJECTS)
def test_every_dependency_has_a_lowest_version_which_make_wheels_tries(path: Path) -> None:
    lines = project(path)["dependencies"]
    assert isinstance(lines, list)

    for requirement in map(Requirement, lines):
        assert wheels.pinned([str(requirement.specifier)]).startswith("=="), requirement
        assert len(requirement.specifier) == 1, "an upper bound would have to be true for every later release"


@pytest.mark.parametrize(
    ("specifiers", "pin"),
    [([">=3.10"], "==3.10"), ([">=0.9", ">=0.19"], "==0.19"), (["<3,>=2024.5.15"], "==2024.5.15")],
)
def test_the_lowest_version_is_the_greatest_floor(specifiers: list[str], pin: str) -> None:
    assert wheels.pinned(specifiers) == pin


def test_a_requirement_of_several_wheels_is_one_line_with_its_extras() -> None:
    same = [Requirement("redis[hiredis]>=5"), Requirement("redis>=5.1")]

    assert wheels.line("redis", same, lowest=True) == "redis[hiredis]==5.1"
    assert wheels.line("redis", same, lowest=False) == "redis[hiredis]>=5,>=5.1"
    assert wheels.line("rich", [Requirement("rich>=13.5")], lowest=True) == "rich==13.5"


def test_a_python_that_is_not_here_is_not_found() -> None:
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = wheels.interpreter(running)

    assert found is not None
    assert subprocess.run([found, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, check=True)
    assert wheels.interpreter("3.99") is None


def test_the_workflow_publishes_by_identity_with_attestations_and_names_no_index() -> None:
    assert "id-token: write" in WORKFLOW
    assert "attestations: true" in WORKFLOW
    assert "environment: release" in WORKFLOW
    assert re.search(r"^permissions: \{\}$", WORKFLOW, re.MULTILINE), "jobs get only what they name"
    assert "tests.install.version" in WORKFLOW
    assert "://" not in WORKFLOW
    assert re.findall(r"(?i)password|secrets\.|repository-url", WORKFLOW) == []


def test_every_action_is_pinned_by_its_commit_with_the_release_as_a_comment() -> None:
    uses = re.findall(r"uses: (.*)", WORKFLOW)

    assert len(uses) >= 6
    assert [use for use in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []
    assert len({use.partition(" ")[0].partition("@")[0] for use in uses}) == len(
        {use.partition(" ")[0] for use in uses}
    )


def test_the_job_that_writes_to_the_repository_has_no_identity_and_the_one_that_publishes_runs_no_code_of_the_project() -> (
    None
):
    jobs = dict(
        re.findall(r"^  (\w+):\n(.*?)(?=^  \w+:\n|\Z)", WORKFLOW.partition("\njobs:\n")[2], re.MULTILINE | re.DOTALL)
    )

    assert list(jobs) == ["build", "publish", "attest", "notes"]
    assert [name for name, job in jobs.items() if "id-token: write" in job] == ["publish", "attest"]
    assert [name for name, job in jobs.items() if "contents: write" in job] == ["notes"]
    assert [name for name, job in jobs.items() if "actions/checkout@" in job] == ["build"]


def test_the_page_on_security_says_how_to_report() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

    assert "## Report a vulnerability" in page
    assert "## Supported versions" in page
