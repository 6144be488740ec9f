"""Services of the operating system: processes, threads, files, memory."""
