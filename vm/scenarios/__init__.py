"""One file per scenario; its docstring says what it shows."""
