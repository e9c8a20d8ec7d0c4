"""``python -m arje`` is the command ``arje``."""

from arje.init.main import main

raise SystemExit(main())
