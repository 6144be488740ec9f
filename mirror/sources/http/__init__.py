"""HTTP as the sources use it: a client that retries, resumes, paces itself, maps its errors."""
