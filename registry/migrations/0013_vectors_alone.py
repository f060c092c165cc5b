"""A vector that comes after its text is written alone: the words of the text are not taken apart again."""

from django.db import migrations

VECTORS_ALONE = """
CREATE OR REPLACE FUNCTION write_tool_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.server_id, OLD.search_text, OLD.removed_at IS NULL)
        IS NOT DISTINCT FROM (NEW.server_id, NEW.search_text, NEW.removed_at IS NULL)
    THEN
        UPDATE search_documents SET embedding = NEW.embedding::halfvec WHERE tool_id = NEW.id;
    ELSIF NEW.removed_at IS NOT NULL THEN
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

CREATE OR REPLACE FUNCTION write_server_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.search_text IS NOT DISTINCT FROM NEW.search_text THEN
        UPDATE search_documents SET embedding = NEW.embedding::halfvec(384)
        WHERE server_id = NEW.id AND tool_id IS NULL;
    ELSE
        INSERT INTO search_documents (server_id, is_open, words, bm25, embedding)
        SELECT NEW.id, server_is_open(NEW), words, bm25_weights(words), NEW.embedding::halfvec(384)
        FROM search_words(NEW.search_text) AS words
        ON CONFLICT (server_id) WHERE tool_id IS NULL DO UPDATE SET
            words = excluded.words, bm25 = excluded.bm25, embedding = excluded.embedding;
    END IF;
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("registry", "0012_oauth")]

    operations = [migrations.RunSQL(VECTORS_ALONE, migrations.RunSQL.noop)]  # before it the same rows come of it
