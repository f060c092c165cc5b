"""The least a hybrid search can cost here: the query's vector, its nearest texts, and the texts that share its words.

DATA_DIR=… python -m bench.floor < queries    one JSON list of milliseconds, one for each line
"""

import json
import os
import sys
import time
from importlib import import_module
from typing import Any

NEAREST = "SELECT id FROM search_documents ORDER BY embedding <=> %s::halfvec LIMIT 20"
LEXICAL = """SELECT id FROM search_documents WHERE words @@ %s::tsquery
ORDER BY bm25 <#> %s::sparsevec LIMIT 20"""


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpregistry.settings")
    import_module("django").setup()
    import_module("registry.embeddings").load_in_background().join()
    queries = [line.rstrip("\n") for line in sys.stdin]
    asked = [import_module("registry.search.query").parse(query) for query in queries]
    for query in asked:
        query.embedding.result()  # what is still to be computed would be found in the cache later on
    import_module("registry.embeddings").forget_queries()
    connection = import_module("django.db").connection
    print(json.dumps([once(query, connection) for query in asked]))


def once(query: Any, connection: Any) -> float:
    """Milliseconds. Which words the query has, and how rare they are, is known before."""
    words, weights = query.tsquery, query.weights
    started_at = time.perf_counter()
    vector = import_module("registry.embeddings").embed_query(query.text)
    with connection.cursor() as cursor:
        cursor.execute(NEAREST, [f"[{','.join(map(str, vector))}]"])
        cursor.fetchall()
        if words:
            cursor.execute(LEXICAL, [words, weights])
            cursor.fetchall()
    return (time.perf_counter() - started_at) * 1000


if __name__ == "__main__":
    main()
