"""The least a hybrid search can cost here: the query's vector, its nearest texts, and the texts that share its words.

DATA_DIR=… python -m bench.floor    takes one JSON list of queries, then the number of one in each line; answers
each with a line: "ready", then milliseconds
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
    asked = [import_module("registry.search.query").parse(query) for query in json.loads(sys.stdin.readline())]
    for query in asked:
        query.embedding.result()  # nothing is computed beside later on
    connection = import_module("django.db").connection
    print("ready", flush=True)
    for number in sys.stdin:
        print(once(asked[int(number)], connection), flush=True)


def once(query: Any, connection: Any) -> float:
    """Milliseconds. Which words the query has, and how rare they are, is known before."""
    words, weights = query.tsquery, query.weights
    started_at = time.perf_counter()
    vector = import_module("registry.embeddings").compute_query(query.text)
    with connection.cursor() as cursor:
        cursor.execute(NEAREST, [f"[{','.join(map(str, vector))}]"])
        cursor.fetchall()
        if words:
            cursor.execute(LEXICAL, [words, weights])
            cursor.fetchall()
    return (time.perf_counter() - started_at) * 1000


if __name__ == "__main__":
    main()
