"""Entry points: found by name, loaded late, restricted by the environment, and never a danger to each other."""

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import streamkit as sk
from streamkit import plugins
from streamkit.errors import PipelineError, PluginError
from streamkit.plugins import Plugin
from streamkit.plugins import entry_points as entry_points_module
from streamkit.plugins import pipeline_files as pipelines

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package of one module, with entry points of one group."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(package: str, entries: dict[str, str], code: str, group: str = "stages") -> None:
        info = tmp_path / f"{package.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        module = package.replace("-", "_")
        lines = [f"{name} = {module}:{target}" for name, target in entries.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[streamkit.{group}]", *lines]))
        (tmp_path / f"{module}.py").write_text(code)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def listed(*packages: str) -> list[Plugin]:
    return [plugin for plugin in plugins.installed() if plugin.package in packages]


def test_an_object_is_found_by_its_group_and_name(install: Install) -> None:
    install("kit-shop", {"answer": "ANSWER"}, "ANSWER = 42")

    assert plugins.find("stages", "answer") == 42
    assert plugins.find("dialects", "answer") is None
    assert plugins.find("stages", "question") is None
    assert "answer" in plugins.names("stages")
    assert listed("kit-shop") == [Plugin("stages", "answer", "kit-shop", "1.2", "kit_shop:ANSWER", "ok")]


def test_names_are_listed_without_an_import(install: Install) -> None:
    install("kit-shop", {"answer": "ANSWER"}, "raise SystemExit(1)")

    assert "answer" in plugins.names("stages")
    assert "kit_shop" not in sys.modules


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("ANSER = 42", "AttributeError: module 'broken_shop' has no attribute 'ANSWER'"),
    ],
)
def test_a_broken_plugin_is_reported_and_disturbs_no_other(install: Install, code: str, problem: str) -> None:
    install("broken-shop", {"answer": "ANSWER"}, code)
    install("kit-shop", {"other": "OTHER"}, "OTHER = 1")

    with pytest.raises(PluginError) as caught:
        plugins.find("stages", "answer")

    assert str(caught.value) == f"streamkit.stages: 'answer' can't be loaded from broken_shop:ANSWER: {problem}"
    assert plugins.find("stages", "other") == 1
    assert {plugin.name: plugin.state for plugin in listed("broken-shop", "kit-shop")} == {
        "answer": "broken",
        "other": "ok",
    }
    assert problem in next(plugin.problem for plugin in listed("broken-shop"))


def test_two_packages_with_one_name_are_an_error_that_names_both(install: Install) -> None:
    install("kit-shop", {"answer": "ANSWER"}, "ANSWER = 42")
    install("other-shop", {"answer": "ANSWER"}, "ANSWER = 43")

    with pytest.raises(
        PluginError, match="expected one package to offer 'answer', found several: kit-shop, other-shop"
    ):
        plugins.find("stages", "answer")
    assert {plugin.state for plugin in listed("kit-shop", "other-shop")} == {"clash"}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("kit-shop", 42), ("other, Kit_Shop", 42), ("other", None), ("", None)],
)
def test_the_environment_restricts_what_is_used(
    install: Install, monkeypatch: pytest.MonkeyPatch, wanted: str, found: int | None
) -> None:
    install("kit-shop", {"answer": "ANSWER"}, "ANSWER = 42")
    monkeypatch.setenv("STREAMKIT_PLUGINS", wanted)

    assert plugins.find("stages", "answer") == found
    assert ("answer" in plugins.names("stages")) is (found is not None)
    assert [plugin.state for plugin in listed("kit-shop")] == ["ok" if found else "restricted"]


def test_the_environment_settles_a_clash(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("kit-shop", {"answer": "ANSWER"}, "ANSWER = 42")
    install("other-shop", {"answer": "ANSWER"}, "ANSWER = 43")
    monkeypatch.setenv("STREAMKIT_PLUGINS", "other-shop")

    assert plugins.find("stages", "answer") == 43


def test_a_plugin_for_another_version_of_the_interface_is_refused(install: Install) -> None:
    install("new-shop", {"answer": "ANSWER"}, "STREAMKIT_API = 2; ANSWER = 42")
    install("kit-shop", {"other": "OTHER"}, "STREAMKIT_API = 1; OTHER = 1")

    with pytest.raises(PluginError, match="was written for API 2, this streamkit has 1"):
        plugins.find("stages", "answer")
    assert plugins.find("stages", "other") == 1


def test_the_installed_encodings_are_plugins_like_any_other() -> None:
    assert {plugin.state for plugin in listed("streamkit-encodings")} == {"ok"}
    assert {plugin.group for plugin in listed("streamkit-encodings")} == {"encodings"}


FACTORY = """\
import streamkit as sk


def shorten(chars: int, *, keep: tuple[str, ...] = (), end: str = "…") -> sk.Stage[sk.Event, sk.Event]:
    return sk.Moderate(sk.Rule(end, phrases=keep or ("x",), max_match=chars))


def nothing() -> int:
    return 42
"""


def table(use: str, **options: object) -> list[dict[str, object]]:
    return [{"use": use, **options}]


def test_a_function_that_makes_a_stage_is_used_in_pipeline_files_with_its_parameters_as_options(
    install: Install,
) -> None:
    install("kit-shop", {"shorten": "shorten"}, FACTORY)

    made = pipelines.from_data(table("shorten", chars=7, keep=["a", "b"]))
    assert made == sk.Moderate(sk.Rule("…", phrases=("a", "b"), max_match=7))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "stage 1: shorten needs chars"),
        ({"chars": 1, "ned": "x"}, "stage 1: shorten has no option 'ned'; it has chars, keep, end"),
        ({"chars": "one"}, "stage 1: shorten, chars: Expected `int`, got `str`"),
        ({"chars": 1, "keep": "a"}, "stage 1: shorten, keep: Expected `array`, got `str`"),
    ],
)
def test_options_that_a_function_does_not_take_are_named(
    install: Install, options: dict[str, object], problem: str
) -> None:
    install("kit-shop", {"shorten": "shorten"}, FACTORY)

    with pytest.raises(PipelineError) as caught:
        pipelines.from_data(table("shorten", **options))
    assert str(caught.value) == problem


def test_a_function_that_makes_something_else_breaks_the_contract(install: Install) -> None:
    install("kit-shop", {"nothing": "nothing"}, FACTORY)

    with pytest.raises(PluginError, match="expected 'nothing' to make a stage, found an object of type int"):
        pipelines.from_data(table("nothing"))


def unknown_stage() -> object:
    return pipelines.from_data(table("shoten"))


def unknown_check() -> object:
    return sk.Moderate(sk.Rule("x", check="shoten")).fresh().feed(sk.TextDelta("a"))


@pytest.mark.parametrize(
    ("group", "use"),
    [
        ("stages", unknown_stage),
        ("dialects", lambda: sk.Extract("shoten")),
        ("emitters", lambda: sk.Emit("shoten")),
        ("moderators", unknown_check),
        ("counters", lambda: sk.Count(counter="shoten").fresh()),
        ("prices", lambda: sk.Count("gpt-4o", prices="shoten").fresh()),
    ],
)
def test_the_error_for_an_unknown_name_lists_those_of_installed_packages(
    install: Install, group: str, use: Callable[[], object]
) -> None:
    install("kit-shop", {"shorten": "shorten"}, FACTORY, group)

    with pytest.raises(
        PipelineError, match=rf"expected one of the {group} .*\bshorten\b.*; found 'shoten'; did you mean shorten\?"
    ):
        use()


def test_without_any_package_an_unknown_name_is_said_to_have_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMKIT_PLUGINS", "")

    with pytest.raises(PipelineError) as caught:
        sk.Count("gpt-4o", prices="nobody").fresh()
    assert str(caught.value) == (
        "expected one of the prices that installed packages offer, of which there are none, or the path of a .toml or .json "
        "file; found 'nobody'"
    )


def wrong_names() -> dict[str, Callable[[], object]]:
    return {
        "counters": lambda: sk.Count("gpt-4o", counter="nobodys"),
        "counters of a budget": lambda: sk.Budget(5, counter="nobodys"),
        "prices": lambda: sk.Count("gpt-4o", prices="nobodys"),
        "prices of a budget of tokens": lambda: sk.Budget(5, model="gpt-4o", prices="nobodys"),
        "prices of a budget": lambda: sk.Budget(cost=1, model="gpt-4o", prompt=1, prices="nobodys"),
        "dialects": lambda: sk.Extract("nobodys"),
        "emitters": lambda: sk.Emit("nobodys"),
        "moderators": lambda: sk.Moderate(sk.Rule("a", check="nobodys")),
    }


@pytest.mark.parametrize("kind", wrong_names())
def test_a_wrong_name_is_rejected_at_construction(kind: str) -> None:
    with pytest.raises(PipelineError, match=rf"expected one of the {kind.split()[0]} .*; found 'nobodys'$"):
        wrong_names()[kind]()


def test_a_stage_with_a_plugins_name_is_constructed_without_an_import(install: Install) -> None:
    install("kit-shop", {"kit-price": "Flat"}, "raise SystemExit(1)", "prices")

    count = sk.Count("gpt-4o", prices="kit-price")

    assert count.prices == "kit-price"
    assert "kit_shop" not in sys.modules
    with pytest.raises(PluginError, match="'kit-price' can't be loaded from kit_shop:Flat"):
        count.fresh()


def test_a_name_that_was_found_is_not_looked_up_again_for_each_run(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("kit-shop", {"kit-counter": "make"}, "", "counters")
    looked_up: list[str] = []
    every = entry_points_module.names
    monkeypatch.setattr(entry_points_module, "names", lambda group: looked_up.append(group) or every(group))  # type: ignore[func-returns-value]

    for _ in range(3):
        sk.Count(counter="kit-counter")

    assert looked_up == ["counters"]


def test_the_error_for_a_first_party_name_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_points_module, "entry_points", lambda **_: ())
    monkeypatch.setattr(entry_points_module, "_KNOWN", set[tuple[str, str]]())

    with pytest.raises(PipelineError, match=r"found 'genai': install streamkit-prices, which offers it$"):
        sk.Count("gpt-4o", prices="genai")
    with pytest.raises(PipelineError, match=r"found 'pii-iban': install streamkit-pii, which offers it$"):
        sk.Moderate(sk.Rule("a", check="pii-iban"))


def test_the_error_for_a_name_that_is_not_allowed_names_the_restriction(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("kit-shop", {"kit-priced": "Flat"}, "", "prices")
    monkeypatch.setenv("STREAMKIT_PLUGINS", "")

    with pytest.raises(
        PipelineError, match=r"found 'kit-priced', which is disabled: STREAMKIT_PLUGINS does not name kit-shop$"
    ):
        sk.Count("gpt-4o", prices="kit-priced")


def test_the_packages_of_first_party_names_are_those_of_this_repository() -> None:
    declared = {
        (group.removeprefix("streamkit."), name): data["project"]["name"]
        for file in (Path(__file__).parents[2] / "plugins").glob("*/pyproject.toml")
        for data in [tomllib.loads(file.read_text(encoding="utf-8"))]
        for group, entries in data["project"].get("entry-points", {}).items()
        for name in entries
    }

    assert declared == entry_points_module.FIRST_PARTY
