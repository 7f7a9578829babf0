"""One HTML report of what was judged."""
