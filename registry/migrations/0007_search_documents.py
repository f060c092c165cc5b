"""What a search reads moves into one slim table of its own, written by triggers.

A search walks one vector index and one index of words instead of two of each, and rows that change with every test of a
server are no longer written into them. `words` and `bm25` are made by the functions of migration 0002.
"""

import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
import pgvector.django
from django.db import migrations, models

TRIGGERS = """
CREATE FUNCTION server_is_open(server registries) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN server.visibility = 'public' AND server.status <> 'deleted';

CREATE FUNCTION write_tool_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.removed_at IS NOT NULL THEN
        DELETE FROM search_documents WHERE tool_id = NEW.id;
    ELSE
        INSERT INTO search_documents (server_id, tool_id, is_open, words, bm25, embedding)
        SELECT NEW.server_id, NEW.id, server_is_open(registries), words, bm25_weights(words), NEW.embedding::halfvec
        FROM search_words(NEW.search_text) AS words, registries WHERE registries.id = NEW.server_id
        ON CONFLICT (tool_id) DO UPDATE SET server_id = excluded.server_id, is_open = excluded.is_open,
            words = excluded.words, bm25 = excluded.bm25, embedding = excluded.embedding;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION write_server_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_documents (server_id, is_open, words, bm25, embedding)
    SELECT NEW.id, server_is_open(NEW), words, bm25_weights(words), NEW.embedding::halfvec(384)
    FROM search_words(NEW.search_text) AS words
    ON CONFLICT (server_id) WHERE tool_id IS NULL DO UPDATE SET
        words = excluded.words, bm25 = excluded.bm25, embedding = excluded.embedding;
    RETURN NULL;
END $$;

CREATE FUNCTION open_server_documents() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE search_documents SET is_open = server_is_open(NEW) WHERE server_id = NEW.id;
    RETURN NULL;
END $$;

CREATE FUNCTION delete_tool_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM search_documents WHERE tool_id = OLD.id;
    RETURN NULL;
END $$;

CREATE FUNCTION delete_server_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM search_documents WHERE server_id = OLD.id;
    RETURN NULL;
END $$;

CREATE TRIGGER tool_document_inserted AFTER INSERT ON tools
FOR EACH ROW EXECUTE FUNCTION write_tool_document();
CREATE TRIGGER tool_document_updated AFTER UPDATE ON tools
FOR EACH ROW WHEN (
    (OLD.server_id, OLD.search_text, OLD.removed_at IS NULL) IS DISTINCT FROM
    (NEW.server_id, NEW.search_text, NEW.removed_at IS NULL) OR OLD.embedding IS DISTINCT FROM NEW.embedding
) EXECUTE FUNCTION write_tool_document();
CREATE TRIGGER tool_document_deleted AFTER DELETE ON tools
FOR EACH ROW EXECUTE FUNCTION delete_tool_document();
CREATE TRIGGER server_document_inserted AFTER INSERT ON registries
FOR EACH ROW EXECUTE FUNCTION write_server_document();
CREATE TRIGGER server_document_updated AFTER UPDATE ON registries
FOR EACH ROW WHEN (
    OLD.search_text IS DISTINCT FROM NEW.search_text OR OLD.embedding IS DISTINCT FROM NEW.embedding
) EXECUTE FUNCTION write_server_document();
CREATE TRIGGER server_documents_opened AFTER UPDATE ON registries
FOR EACH ROW WHEN ((OLD.visibility, OLD.status) IS DISTINCT FROM (NEW.visibility, NEW.status))
EXECUTE FUNCTION open_server_documents();
CREATE TRIGGER server_document_deleted AFTER DELETE ON registries
FOR EACH ROW EXECUTE FUNCTION delete_server_document();
"""

DROP_TRIGGERS = """
DROP TRIGGER tool_document_inserted ON tools;
DROP TRIGGER tool_document_updated ON tools;
DROP TRIGGER tool_document_deleted ON tools;
DROP TRIGGER server_document_inserted ON registries;
DROP TRIGGER server_document_updated ON registries;
DROP TRIGGER server_documents_opened ON registries;
DROP TRIGGER server_document_deleted ON registries;
DROP FUNCTION write_tool_document, write_server_document, open_server_documents, delete_tool_document;
DROP FUNCTION delete_server_document, server_is_open;
"""

FILL = """
INSERT INTO search_documents (server_id, tool_id, is_open, words, bm25, embedding)
SELECT id, NULL::bigint, server_is_open(registries), search_vector, bm25, embedding::halfvec(384) FROM registries
UNION ALL
SELECT server_id, tools.id, server_is_open(registries), tools.search_vector, tools.bm25, tools.embedding::halfvec(384)
FROM tools JOIN registries ON registries.id = server_id WHERE removed_at IS NULL;
"""

TERMS = """
DROP MATERIALIZED VIEW search_terms;
CREATE MATERIALIZED VIEW search_terms AS
SELECT word::text AS word, ndoc AS documents FROM ts_stat('SELECT words FROM public.search_documents')
UNION ALL
SELECT '', count(*) FROM search_documents;
CREATE UNIQUE INDEX search_terms_word ON search_terms (word text_pattern_ops);
"""

TERMS_BEFORE = """
DROP MATERIALIZED VIEW search_terms;
CREATE MATERIALIZED VIEW search_terms AS
SELECT word::text AS word, ndoc AS documents
FROM ts_stat('SELECT search_vector FROM public.tools UNION ALL SELECT search_vector FROM public.registries')
UNION ALL
SELECT '', (SELECT count(*) FROM tools) + (SELECT count(*) FROM registries);
CREATE UNIQUE INDEX search_terms_word ON search_terms (word text_pattern_ops);
"""


def hnsw(name, operators):
    return pgvector.django.HnswIndex(
        name=name, fields=["embedding"], m=16, ef_construction=64, opclasses=[operators]
    )


class Migration(migrations.Migration):
    dependencies = [("registry", "0006_listed_and_labels")]

    operations = [
        migrations.CreateModel(
            name="SearchDocument",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("is_open", models.BooleanField(help_text="everybody may see it")),
                ("words", django.contrib.postgres.search.SearchVectorField()),
                ("bm25", pgvector.django.SparseVectorField(dimensions=2**29)),
                ("embedding", pgvector.django.HalfVectorField(dimensions=384, null=True)),
                (
                    "server",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="registry.server",
                    ),
                ),
                (
                    "tool",
                    models.OneToOneField(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="registry.tool",
                    ),
                ),
            ],
            options={"db_table": "search_documents"},
        ),
        migrations.AddConstraint(
            "searchdocument",
            models.UniqueConstraint(
                condition=models.Q(tool=None), fields=("server",), name="one_search_document_per_server"
            ),
        ),
        migrations.RunSQL(TRIGGERS, DROP_TRIGGERS),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AddIndex(
            "searchdocument",
            django.contrib.postgres.indexes.GinIndex(fields=["words"], name="search_document_words"),
        ),
        migrations.AddIndex("searchdocument", hnsw("search_document_embedding", "halfvec_cosine_ops")),
        migrations.RunSQL(TERMS, TERMS_BEFORE),
        migrations.RemoveIndex("server", "server_words"),
        migrations.RemoveIndex("server", "server_embedding"),
        migrations.RemoveIndex("tool", "tool_words"),
        migrations.RemoveIndex("tool", "tool_embedding"),
        migrations.RemoveField("server", "bm25"),
        migrations.RemoveField("server", "search_vector"),
        migrations.RemoveField("tool", "bm25"),
        migrations.RemoveField("tool", "search_vector"),
    ]
