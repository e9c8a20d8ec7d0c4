"""The control socket: Varlink (varlink.org) over a unix stream, JSON messages that end with a NUL byte."""
