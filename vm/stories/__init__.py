"""One file per story; its docstring says what it shows."""
