"""The trio part: starts, watches, restarts and stops services; the state table is the only thing that it writes."""
