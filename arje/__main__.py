"""``python -m arje`` is the command ``arje``."""

from arje.init.main import command

raise SystemExit(command())
