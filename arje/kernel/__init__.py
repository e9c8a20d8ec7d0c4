"""Linux as arje sees it: what it can do, processes, cgroups, identities. Facts and handles, no policy."""
