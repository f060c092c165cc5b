"""The planner as a graph: recall → select tools → propose ⇄ check.

There is no checkpointer: a planning that is cut off starts again, and the journal alone says what has happened.
"""

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from chat.planner import nodes
from chat.planner.state import PlannerContext, PlanState


def build() -> CompiledStateGraph[Any, Any, Any, Any]:
    graph = StateGraph(PlanState, context_schema=PlannerContext)
    graph.add_node("recall", nodes.recall)
    graph.add_node("select_tools", nodes.select_tools)
    graph.add_node("propose", nodes.propose)
    graph.add_node("check", nodes.check)
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "select_tools")
    graph.add_conditional_edges("select_tools", nodes.has_tools, {True: "propose", False: END})
    graph.add_edge("propose", "check")
    graph.add_conditional_edges("check", nodes.must_correct, {True: "propose", False: END})
    return graph.compile()


PLANNER = build()
