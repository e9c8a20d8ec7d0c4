"""arje: an init and service supervisor that says what isolation each service really got."""

__version__ = "0.1.0"
