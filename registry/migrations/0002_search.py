"""BM25 in Postgres: each row keeps its stemmed words' weights as a sparse vector; inner product with a query scores it.

`search_words` splits at everything but letters and digits, so that `read/write` is two words, not a file name.
`bm25_weights` has BM25's k1 = 1.2 and b = 0.75 and the usual length of 60 words; a word's rarity comes with the query,
from `search_terms`: how many rows hold each word. The row of the empty word counts all rows.
"""

import django.contrib.postgres.indexes
import django.contrib.postgres.search
import pgvector.django
from django.db import migrations, models
from django.db.models.functions import Lower

FUNCTIONS = """
CREATE FUNCTION search_words(value text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_tsvector('pg_catalog.english'::regconfig, regexp_replace(value, '[^[:alnum:]]+', ' ', 'g'));

CREATE FUNCTION term_dimension(lexeme text) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (hashtext(lexeme) & 536870911) + 1;

CREATE FUNCTION bm25_weights(words tsvector) RETURNS sparsevec LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH terms AS (
        SELECT term_dimension(lexeme) AS dimension, sum(cardinality(positions))::float8 AS tf
        FROM unnest(words) GROUP BY 1 LIMIT 15000
    ), weights AS (
        SELECT dimension, tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * sum(tf) OVER () / 60)) AS weight FROM terms
    )
    SELECT ('{' || coalesce(string_agg(dimension || ':' || round(weight::numeric, 4), ','), '') || '}/536870912')::sparsevec
    FROM weights;
END;

CREATE MATERIALIZED VIEW search_terms AS
SELECT word::text AS word, ndoc AS documents
FROM ts_stat('SELECT search_vector FROM public.tools UNION ALL SELECT search_vector FROM public.registries')
UNION ALL
SELECT '', (SELECT count(*) FROM tools) + (SELECT count(*) FROM registries);

CREATE UNIQUE INDEX search_terms_word ON search_terms (word text_pattern_ops);
"""

DROP_FUNCTIONS = """
DROP MATERIALIZED VIEW search_terms;
DROP FUNCTION bm25_weights(tsvector);
DROP FUNCTION term_dimension(text);
DROP FUNCTION search_words(text);
"""


def generated(field, expression):
    return models.GeneratedField(expression=expression, output_field=field, db_persist=True)


def search_columns(model, index):
    """`search_vector` as `search_words` makes it, and the weights."""
    words = models.Func(models.F("search_text"), function="search_words")
    weights = models.Func(words, function="bm25_weights")
    return [
        migrations.RemoveIndex(model, index),
        migrations.RemoveField(model, "search_vector"),
        migrations.AddField(
            model, "search_vector", generated(django.contrib.postgres.search.SearchVectorField(), words)
        ),
        migrations.AddField(model, "bm25", generated(pgvector.django.SparseVectorField(dimensions=2**29), weights)),
        migrations.AddIndex(
            model, django.contrib.postgres.indexes.GinIndex(fields=["search_vector"], name=index)
        ),
    ]


class Migration(migrations.Migration):
    dependencies = [("registry", "0001_initial")]

    operations = [
        migrations.RunSQL(FUNCTIONS, DROP_FUNCTIONS),
        *search_columns("server", "server_words"),
        *search_columns("tool", "tool_words"),
        migrations.AddField(
            "server",
            "content_hash",
            models.CharField(blank=True, help_text="sha256 of the text that is embedded", max_length=64, default=""),
            preserve_default=False,
        ),
        migrations.AddField(
            "server",
            "embedding",
            pgvector.django.VectorField(blank=True, dimensions=384, editable=False, null=True),
        ),
        migrations.AddIndex(
            "server",
            pgvector.django.HnswIndex(
                name="server_embedding",
                fields=["embedding"],
                m=16,
                ef_construction=64,
                opclasses=["vector_cosine_ops"],
            ),
        ),
        migrations.AddIndex(
            "server",
            models.Index(
                django.contrib.postgres.indexes.OpClass(
                    Lower("title"), name="text_pattern_ops"
                ),
                name="server_title_prefix",
            ),
        ),
    ]
