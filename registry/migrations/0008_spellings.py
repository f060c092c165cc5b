"""Known words by what is left of them when one letter is missing: words one slip apart share such a spelling.

A letter too much, one too few, another one or two exchanged: found by equality, with an index, without comparing words.
"""

from django.db import migrations

SPELLINGS = """
CREATE MATERIALIZED VIEW search_spellings AS
SELECT DISTINCT CASE place WHEN 0 THEN word ELSE left(word, place - 1) || substr(word, place + 1) END AS spelling,
    word, documents
FROM search_terms, generate_series(0, length(word)) AS place
WHERE word ~ '^[a-z]{4,20}$';
CREATE UNIQUE INDEX search_spellings_spelling ON search_spellings (spelling, word);
"""


class Migration(migrations.Migration):
    dependencies = [("registry", "0007_search_documents")]

    operations = [migrations.RunSQL(SPELLINGS, "DROP MATERIALIZED VIEW search_spellings;")]
