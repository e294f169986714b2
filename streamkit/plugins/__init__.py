"""Plugins of installed packages, stages by name, and pipeline files."""

from streamkit.plugins.entry_points import API as API
from streamkit.plugins.entry_points import GROUPS as GROUPS
from streamkit.plugins.entry_points import Plugin as Plugin
from streamkit.plugins.entry_points import find as find
from streamkit.plugins.entry_points import installed as installed
from streamkit.plugins.entry_points import names as names
