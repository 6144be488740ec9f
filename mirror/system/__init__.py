"""What the operating system gives: processes, threads, files, memory."""
