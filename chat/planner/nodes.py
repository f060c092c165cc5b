"""The planner's steps: recall, decompose, select tools, propose, check, ask."""

from functools import partial
from typing import Any

from django.conf import settings
from langgraph.runtime import Runtime

from chains.plan import Problem, Toolbox, errors, pointer_to, read, validate
from chat import offline
from chat.background import result_of
from chat.drafts import ASK, Draft, with_inputs
from chat.llm import ModelError
from chat.metering import BudgetSpent, MeteredModel
from chat.offline.words import clauses
from chat.planner import grounding, observing, prompts, wire
from chat.planner.state import PlannerContext, PlanState
from chat.planner.tools import has_to_choose, tools_for
from chat.schemas import required

MAX_ROUNDS = 3  # the first proposal and two corrections
BEAT_S = 0.5
PROBLEMS_TOLD = 10
SHORT_QUESTION_WORDS = 25  # of one clause: it is searched for as it is
TO_BE_ASKED = {"missing_argument", grounding.INVENTED}


def recall(state: PlanState, runtime: Runtime[PlannerContext]) -> PlanState:
    return {"recalled": runtime.context.recall(), "rounds": 0, "problems": [], "given_up": "", "unfilled": False}


def decompose(state: PlanState, runtime: Runtime[PlannerContext]) -> PlanState:
    """The questions a message holds, so that each finds its own tools: by the model where it may be worth a call,
    else clause by clause."""
    question, context = state["question"], runtime.context
    parts = clauses(question)
    is_short = len(parts) < 2 and len(question.split()) <= SHORT_QUESTION_WORDS
    again = state.get("so_far") is not None
    if is_short or again or context.model is None or not settings.CHAT_DECOMPOSE or not has_to_choose(context.user):
        return {"queries": parts}
    return {"queries": _questions(context.model, state, context) or parts}


def _questions(model: MeteredModel, state: PlanState, context: PlannerContext) -> list[str]:
    """None where the model gives none that can be read: the clauses do."""
    ask = partial(model.ask, prompts.decomposing(state["question"]), schema=wire.QUESTIONS_SCHEMA)
    try:
        return wire.read_questions(_waited(ask, context))
    except wire.UnreadableReply:
        return []


def _waited(ask: Any, context: PlannerContext) -> str:
    return str(result_of(ask, while_waiting=context.while_waiting, every_s=BEAT_S))


def select_tools(state: PlanState, runtime: Runtime[PlannerContext]) -> PlanState:
    so_far = state.get("so_far")
    found = tools_for(state["question"], state["queries"], user=runtime.context.user, history=state["recalled"].turns)
    before = so_far.tools if so_far else []
    return {"tools": list({tool.pk: tool for tool in [*before, *found]}.values()), "draft": Draft()}


def propose(state: PlanState, runtime: Runtime[PlannerContext]) -> PlanState:
    model = runtime.context.model
    if model is None:
        draft = offline.plan(state["question"], state["tools"])
        return {"draft": draft, "rounds": MAX_ROUNDS, "problems": []}
    return _asked(model, state, runtime.context)


def _asked(model: MeteredModel, state: PlanState, context: PlannerContext) -> PlanState:
    so_far = state.get("so_far")
    messages = state.get("messages") or prompts.planning(
        state["question"], state["queries"], state["tools"], state["recalled"], so_far=so_far
    )
    schema = wire.reply_schema(state["tools"], first=so_far.next_number if so_far else 1)
    try:
        reply = _waited(partial(model.ask, messages, schema=schema), context)
    except BudgetSpent as error:
        return _given_up(state, error)
    update: PlanState = {"rounds": state["rounds"] + 1, "messages": prompts.spoken(messages, reply)}
    known = so_far.plan.get("inputs") if so_far else None
    try:
        return update | {"draft": wire.read_reply(reply, state["tools"], known=known), "problems": []}
    except wire.UnreadableReply as error:
        return update | {"draft": Draft(), "problems": [str(error)]}


def _given_up(state: PlanState, error: ModelError) -> PlanState:
    """Without another call there is no better plan than the one whose problems were to be corrected."""
    if not state["rounds"]:
        raise error
    return {"rounds": MAX_ROUNDS, "given_up": f"The model {error.message}."}


def check(state: PlanState, runtime: Runtime[PlannerContext]) -> PlanState:
    """Problems of the draft as sentences; for a model they are also its next message."""
    draft, problems, so_far = state["draft"], state["problems"], state.get("so_far")
    found: list[Problem] = []
    toolbox: Toolbox | None = None
    if draft.is_runnable:
        draft = observing.joined(draft, so_far, state["tools"]) if so_far else draft
        plan, noticed = read(draft.as_plan())
        if plan is not None:
            toolbox = Toolbox.of(plan.steps, runtime.context.user)
            noticed = [*noticed, *validate(plan, user=runtime.context.user, toolbox=toolbox)]
        found = [*errors(noticed), *_too_many(draft), *observing.repeated(draft, so_far, state["tools"])]
        if not found and runtime.context.model is not None:
            known = grounding.known_words(state["question"], state["recalled"], so_far)
            found = list(grounding.invented(draft, state["tools"], known))
        problems = [f"{problem.path}: {problem.message}" for problem in found[:PROBLEMS_TOLD]]
    unfilled = bool(found) and all(problem.code in TO_BE_ASKED for problem in found)
    made_up = [problem.path for problem in found if problem.code == grounding.INVENTED]
    checked: PlanState = {"draft": draft, "toolbox": toolbox}
    update = checked | PlanState(problems=problems, unfilled=unfilled, made_up=made_up)
    if not problems or runtime.context.model is None:
        return update
    if state["given_up"]:
        return update | {"problems": [*problems, state["given_up"]]}
    return update | {"messages": prompts.corrected(state["messages"], problems)}


def _too_many(draft: Draft) -> list[Problem]:
    most = settings.CHAT_MAX_STEPS
    if len(draft.steps) <= most:
        return []
    return [Problem("/steps", "too_many_steps", f"One message may run at most {most} steps.")]


def ask(state: PlanState, runtime: Runtime[PlannerContext]) -> PlanState:
    """Nothing is wrong with the draft but arguments nobody gave: the user gives them."""
    draft = state["draft"]
    by_name = {(tool.server.slug, tool.name): tool for tool in state["tools"]}
    steps = []
    for index, step in enumerate(draft.steps):
        tool = by_name.get((step["server"], step["tool"]))
        given = {
            name for name in step["arguments"] if pointer_to("steps", index, "arguments", name) not in state["made_up"]
        }
        lacking = [name for name in required(tool.input_schema) if name not in given] if tool else []
        steps.append(step | {"arguments": step["arguments"] | {name: {ASK: ""} for name in lacking}})
    written, inputs = with_inputs(steps, state["tools"], known=draft.inputs)
    return {"draft": Draft(written, draft.say, [], inputs, draft.look), "problems": []}


def has_tools(state: PlanState) -> bool:
    return bool(state["tools"])


def after_check(state: PlanState) -> str:
    if not state["problems"]:
        return "end"
    if state["made_up"]:
        return "ask"  # the model had its say; the user knows
    if state["rounds"] < MAX_ROUNDS:
        return "propose"
    return "ask" if state["unfilled"] else "end"
