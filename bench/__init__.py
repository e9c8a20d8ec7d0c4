"""Every figure that the README quotes, with the peers beside it. Start with ``bench/run``."""
