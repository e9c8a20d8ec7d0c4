"""From a card to a running, namespaced, verified process. Rules and reasons: the first lines of native/child.c."""
