"""`make soak`: many people at work while one part after the other is killed, and what was promised checked afterwards.

For SOAK_SECONDS (600): in the first part of them workers, Redis, Postgres and the web server are killed in turn; in the
rest nothing is, and memory is watched. Exit status 1 when a promise is broken.
"""
