"""Installs packages of one module into a folder."""

from __future__ import annotations

from pathlib import Path


def install(site: Path, package: str, entries: dict[str, str], code: str, group: str = "stages") -> None:
    """Write a package with entry points of one group into a site-packages folder."""
    module = package.replace("-", "_")
    info = site / f"{module}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    lines = [f"{name} = {module}:{target}" for name, target in entries.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[streamkit.{group}]", *lines]))
    (site / f"{module}.py").write_text(code)
