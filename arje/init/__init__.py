"""The top floor: wires everything together; the manager's process, its signals and its directories."""
