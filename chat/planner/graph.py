"""The planner as a graph: recall → decompose → select tools → propose ⇄ check; what cannot be corrected is asked for.

A plan that is found good is approved, run and answered by other jobs, from the journal (chat.jobs); what it gave is
observed (chat.planner.observing), and may lead through this graph again. There is no checkpointer: a planning that is
cut off starts again, and the journal alone says what has happened.
"""

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from chat.planner import nodes
from chat.planner.state import PlannerContext, PlanState


def build() -> CompiledStateGraph[Any, Any, Any, Any]:
    graph = StateGraph(PlanState, context_schema=PlannerContext)
    for node in (nodes.recall, nodes.decompose, nodes.select_tools, nodes.propose, nodes.check, nodes.ask):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "decompose")
    graph.add_edge("decompose", "select_tools")
    graph.add_conditional_edges("select_tools", nodes.has_tools, {True: "propose", False: END})
    graph.add_edge("propose", "check")
    graph.add_conditional_edges("check", nodes.after_check, {"propose": "propose", "ask": "ask", "end": END})
    graph.add_edge("ask", END)
    return graph.compile()


PLANNER = build()
