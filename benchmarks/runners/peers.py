"""Not yet."""
def command(tool, job, env, scratch):
    return [], {}
