"""The supervisor's knowledge of its services, pure: states, records, the one table, restarts and order."""
