"""The command ``arjectl``: talks to the control socket. Standard library only, so that it starts fast anywhere."""
