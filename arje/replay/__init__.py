"""Every input of a run recorded, and the run played again from that alone: a bug report becomes a test."""
