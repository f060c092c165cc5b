"""The planner's steps: recall, select tools, propose, check."""

from functools import partial

from langgraph.runtime import Runtime

from chains.plan import check as check_plan
from chains.plan import errors
from chat import offline
from chat.background import result_of
from chat.drafts import Draft
from chat.llm import ChatModel, Usage
from chat.planner import prompts, wire
from chat.planner.state import PlannerContext, PlanState
from chat.planner.tools import tools_for

MAX_ROUNDS = 3  # the first proposal and two corrections
BEAT_S = 0.5
PROBLEMS_TOLD = 10


def recall(state: PlanState, runtime: Runtime[PlannerContext]) -> PlanState:
    return {"history": runtime.context.history(), "rounds": 0, "problems": [], "usage": Usage()}


def select_tools(state: PlanState, runtime: Runtime[PlannerContext]) -> PlanState:
    tools = tools_for(state["question"], user=runtime.context.user, history=state["history"])
    return {"tools": tools, "draft": Draft()}


def propose(state: PlanState, runtime: Runtime[PlannerContext]) -> PlanState:
    model = runtime.context.model
    if model is None:
        draft = offline.plan(state["question"], state["tools"])
        return {"draft": draft, "rounds": MAX_ROUNDS, "problems": []}
    return _asked(model, state, runtime.context)


def _asked(model: ChatModel, state: PlanState, context: PlannerContext) -> PlanState:
    messages = state.get("messages") or prompts.planning(state["question"], state["tools"], state["history"])
    ask = partial(model.ask, messages, schema=wire.reply_schema(state["tools"]))
    reply, usage = result_of(ask, while_waiting=context.while_waiting, every_s=BEAT_S)
    update: PlanState = {"rounds": state["rounds"] + 1, "usage": state["usage"] + usage}
    try:
        draft, problems = wire.read_reply(reply), []
    except wire.UnreadableReply as error:
        draft, problems = Draft(), [str(error)]
    return update | {"draft": draft, "problems": problems, "messages": prompts.spoken(messages, reply)}


def check(state: PlanState, runtime: Runtime[PlannerContext]) -> PlanState:
    """Problems of the draft as sentences; for a model they are also its next message."""
    draft, problems = state["draft"], state["problems"]
    if draft.steps and not draft.missing:
        _, found = check_plan(draft.as_plan(), user=runtime.context.user)
        problems = [f"{problem.path}: {problem.message}" for problem in errors(found)[:PROBLEMS_TOLD]]
    if not problems or runtime.context.model is None:
        return {"problems": problems}
    return {"problems": problems, "messages": prompts.corrected(state["messages"], problems)}


def has_tools(state: PlanState) -> bool:
    return bool(state["tools"])


def must_correct(state: PlanState) -> bool:
    return bool(state["problems"]) and state["rounds"] < MAX_ROUNDS
