"""Two classes of requests in one engine: interactive ones with a short deadline, batch jobs with a loose one."""
