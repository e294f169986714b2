"""`await sk.show(stream)` in a real kernel: a notebook is executed, and its output looked at."""

from __future__ import annotations

import sys
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from streamkit.cli.provider import Provider
from tests.cli.served import served

ANSWERS = {"Heading?": "# A heading\n\nwith **bold** and <b>no HTML</b>, blue heron 42"}
IMPORTS = """\
import streamkit as sk

RULE = sk.Rule("secret", phrases=("blue heron 42",))
PIPELINE = sk.Parse() | sk.Extract() | sk.Moderate(RULE) | sk.Accumulate() | sk.Count("gpt-4o")
"""
SHOW = """\
body = {{"model": "gpt-4o", "stream": True, "messages": [{{"role": "user", "content": "{question}"}}]}}
answer = await sk.show(sk.http.post("{url}/chat/completions", json=body) | PIPELINE)
"""


class ThisPython(KernelSpecManager):
    """The one kernel is this interpreter's, whatever is installed for Jupyter."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name=kernel_name, language="python")


class Manager(AsyncKernelManager):
    """Starts that kernel; nbclient, which makes it, also ends it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, kernel_spec_manager=ThisPython())


def executed(*cells: str) -> list[list[Any]]:
    """The outputs of each cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3", kernel_manager_class=Manager).execute()
    return [cell["outputs"] for cell in notebook["cells"]]


@pytest.mark.skipif(sys.platform == "win32", reason="kernels of a test are not ended there")
@pytest.mark.filterwarnings("default")  # of Jupyter's own
def test_a_cell_shows_the_answer_as_html_with_its_figures_and_returns_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    with served(Provider(answers=ANSWERS, first_token_seconds=0, token_seconds=0)) as url:
        _, shown, value, _ = executed(
            IMPORTS,
            SHOW.format(question="Heading?", url=url),
            "answer.text[-10:]",
            "import sys; assert 'rich' not in sys.modules",
        )

    (output,) = shown
    html = output["data"]["text/html"]
    assert "<h1>A heading</h1>" in html
    assert "with <strong>bold</strong> and &lt;b&gt;no HTML&lt;/b&gt;, [redacted]" in html
    assert "redacted secret (content " in html
    assert "tokens" in html
    assert "completed" in html
    assert output["data"]["text/plain"].startswith("# A heading\n")
    assert value[0]["data"]["text/plain"] == "'[redacted]'"
