"""What is asked inside a machine in which arje is pid 1, by a shell on its console."""
