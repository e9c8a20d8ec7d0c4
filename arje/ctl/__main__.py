"""``python -m arje.ctl`` is ``arjectl``."""

from arje.ctl.main import main

raise SystemExit(main())
