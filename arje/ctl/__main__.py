"""``python -m arje.ctl`` is ``arjectl``."""

from arje.ctl.main import run

run()
