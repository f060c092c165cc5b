"""The ENGINE of DATABASES: Django's own for Postgres, with a pool that looks before it asks."""
