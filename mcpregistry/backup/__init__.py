"""Everything that is kept, in one archive: `manage.py backup FILE` and `manage.py restore FILE`.

The archive is a zip file: `tables/NAME.copy` as Postgres copies them, `files/N` (the files of results), and
`manifest.json`, which says what is in it and of which version. The secret key is not.
"""
