"""What is measured, by name. A new measure is one file and one line here.

A measure takes how often to repeat and returns what each repetition took, perhaps with lines that say more.
"""

from bench.capacity import backed_up, left_by_runs, turns_a_second
from bench.chain import chain_to_finished, overhead_per_step, request_to_first_call
from bench.crowd import fifty_runs, memory_of_fifty
from bench.measure import Measure
from bench.parallel import twenty_at_once
from bench.probes import list_while_testing, thousand_tested
from bench.quality import quality
from bench.rest import memory_at_rest
from bench.search import search_latency
from bench.searching import listing, loading, one_client, side_by_side, ten_times
from bench.startup import first_start, second_start
from bench.talk import fifty_conversations, first_event, first_token, turn_overhead
from bench.throughput import endpoint_throughput
from bench.viewers import event_to_viewer

MEASURES = {
    measure.name: measure
    for measure in (
        Measure("start-first", "s", 3, "`manage.py up` on an empty DATA_DIR until ready", first_start),
        Measure("start-second", "s", 3, "`manage.py up` on a used DATA_DIR until ready", second_start),
        Measure(
            "chain", "ms", 30, "POST /chain/execute to RUN_FINISHED, three steps on one toy server", chain_to_finished
        ),
        Measure("step", "ms", 10, "a step of a 20-step chain beyond the same call made directly", overhead_per_step),
        Measure("parallel", "s", 10, "20 steps of 500 ms that need nothing of each other", twenty_at_once),
        Measure(
            "viewers", "ms", 1, "event to each of 200 viewers, half websockets, half SSE, of 4 runs", event_to_viewer
        ),
        Measure("fifty", "s", 3, "50 runs of three steps at once, two workers", fifty_runs),
        Measure("fifty-memory", "MB", 1, "what the two workers and their jobs held at most", memory_of_fifty),
        Measure(
            "first-call",
            "ms",
            20,
            "POST /chain/execute to the first call's arrival at its server",
            request_to_first_call,
        ),
        Measure("probes", "s", 1, "1,000 servers tested by two workers, a tenth each dead and silent", thousand_tested),
        Measure("list-while-probing", "ms", 300, "GET /registry in the meantime", list_while_testing),
        Measure("turn", "ms", 20, "a chat turn of one step beyond the model's and the tool's own time", turn_overhead),
        Measure("first-event", "ms", 20, "POST /chat to the first event on its stream", first_event),
        Measure(
            "first-token", "ms", 20, "the model's first piece of an answer to its arrival at a reader", first_token
        ),
        Measure("talk", "tokens/s", 1, "in each of 50 answers that stream at once, sent at 50/s", fifty_conversations),
        Measure(
            "endpoints", "requests/s", 1, "GET /registry by one client, and every main endpoint", endpoint_throughput
        ),
        Measure("rest", "MB", 1, "memory of all processes of `make run` with two workers, at rest", memory_at_rest),
        Measure("turns", "turns/s", 3, "chat turns without a step, one worker, eight people", turns_a_second),
        Measure("runs-stored", "MB", 1, "what a thousand runs of three steps take in Postgres", left_by_runs),
        Measure("backup", "s", 3, "`manage.py backup` of the registry of all recorded servers", backed_up),
        Measure("search", "ms", 200, "GET /registry/search over 2,000 servers, by HTTP", search_latency),
        Measure("quality", "nDCG@10", 1, "search on five retrieval benchmarks", quality),
        Measure("load-all", "s", 1, "18,856 recorded servers loaded, merged and embedded by one worker", loading),
        Measure("search-all", "ms", 500, "GET /registry/search over all of them, different queries", one_client),
        Measure("search-8", "searches/s", 3, "the same by eight clients at once", side_by_side),
        Measure("list-all", "ms", 300, "GET /registry?q= over all of them, as one types", listing),
        Measure("search-10x", "ms", 300, "GET /registry/search over ten times their tools", ten_times),
    )
}
