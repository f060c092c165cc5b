"""What is measured, by name. A new measure is one file and one line here.

A measure takes how often to repeat and returns what each repetition took.
"""

from bench.chain import chain_to_finished, overhead_per_step, request_to_first_call
from bench.measure import Measure
from bench.probes import list_while_testing, thousand_tested
from bench.search import search_latency
from bench.startup import first_start, second_start

MEASURES = {
    measure.name: measure
    for measure in (
        Measure("start-first", "s", 3, "`manage.py up` on an empty DATA_DIR until ready", first_start),
        Measure("start-second", "s", 3, "`manage.py up` on a used DATA_DIR until ready", second_start),
        Measure(
            "chain", "ms", 30, "POST /chain/execute to RUN_FINISHED, three steps on one toy server", chain_to_finished
        ),
        Measure("step", "ms", 10, "a step of a 20-step chain beyond the same call made directly", overhead_per_step),
        Measure("first-call", "ms", 20, "acknowledged request to the first call of a tool", request_to_first_call),
        Measure("probes", "s", 1, "1,000 servers tested by two workers, a tenth each dead and silent", thousand_tested),
        Measure("list-while-probing", "ms", 300, "GET /registry in the meantime", list_while_testing),
        Measure("search", "ms", 200, "GET /registry/search over 2,000 servers, by HTTP", search_latency),
    )
}
