"""The turns of a chat, on queue `chat`: plan, and after the steps answer. Both are safe to run twice.

Between them the executor runs the steps (chains.jobs.drive_run). Each job starts from the rows alone.
"""

from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import prefetch_related_objects

from chains import recall
from chains.dispatch import dispatch
from chains.leases import release
from chains.models import Run, ToolRun
from chains.plan import PlanError
from chains.services import finish_run
from chat import budgets, llm, memory, planner, pruning, services
from chat.answers import End, Speech, write_answer
from chat.dispatching import has_unfinished_steps, steps_of_plan
from chat.drafts import questions_of
from chat.driving import Driver, drive
from chat.llm import ModelError
from chat.memory import Recalled
from chat.metering import MeteredModel, Spent
from chat.models import Message
from chat.offline import answers as plain
from chat.planner import Planning, SoFar, observing, prompts


def plan_turn(run_id: str) -> None:
    drive(run_id, _plan)


def answer_turn(run_id: str) -> None:
    drive(run_id, _answer)


def tidy_conversations() -> int:
    """Summarise what is long ago and remove what is too old; how many messages were removed."""
    return pruning.tidy()


def embed_results() -> int:
    """Give results what they are found by."""
    return recall.embed_results()


def _messages(run: Run) -> tuple[Message, Message | None]:
    """The question, and its answer as far as it is there."""
    rows = {row.role: row for row in Message.objects.filter(run=run).select_related("conversation")}
    for row in rows.values():
        row.run = run
    return rows[Message.Role.USER], rows.get(Message.Role.ASSISTANT)


def _hand_on(driver: Driver) -> None:
    """It is another job's turn: give the run back and queue that."""
    release(driver.run.pk, driver.token)
    dispatch(driver.run)


def _model(question: Message, answer: Message | None) -> MeteredModel | None:
    """The conversation's model, within what is left of the message's budget."""
    return budgets.metered(llm.models_of(question.conversation.provider), [question, *([answer] if answer else [])])


def _plan(driver: Driver) -> None:
    if driver.run.plan is not None:
        return _hand_on(driver)
    question, answer = _messages(driver.run)
    model = _model(question, answer)
    planning = planner.plan(
        question.content,
        user=driver.run.owner,
        recall=partial(_recalled, question, model),
        model=model,
        while_waiting=driver.beat,
    )
    runs = planning.draft.is_runnable and not planning.problems
    asks = runs and bool(services.lacking_inputs(driver.run, planning.draft.as_plan()))
    with transaction.atomic():
        driver.hold()
        spent = model.meter.take() if model else Spent()
        services.record_planning(question=question, planning=planning, spent=spent)
        problems = _run_steps(driver, question, planning) if runs and not asks else planning.problems
    if problems:
        _refuse(driver, question, planning, problems)
    elif asks:
        _ask(driver, question, planning)
    elif not runs:
        _speak(driver, question, planning, model)


def _recalled(question: Message, model: MeteredModel | None) -> Recalled:
    """What was found when the question was planned is not searched for again."""
    known = (question.planning or {}).get("results")
    tokens = model.context_tokens if model else memory.UNKNOWN_MODEL_TOKENS
    return memory.recall(question, context_tokens=tokens, known=known)


def _run_steps(driver: Driver, question: Message, planning: Planning) -> list[str]:
    """What keeps the plan from being run: a tool was changed or withdrawn since it was checked."""
    plan = planning.draft.as_plan()
    try:
        services.go_on(run=driver.run, question=question, plan=plan, lease_token=driver.token, toolbox=planning.toolbox)
    except PlanError as error:
        return [problem.message for problem in error.problems]
    return []


def _ask(driver: Driver, question: Message, planning: Planning) -> None:
    """Say what is missing, in a text and as a form, and wait."""
    plan = planning.draft.as_plan()
    speech = Speech(_signed(plain.asking(list(questions_of(plan["inputs"]))), question))
    run, token = driver.run, driver.token
    end = End(
        Message.Status.ASKING,
        lambda _: services.wait_for_inputs(run=run, question=question, plan=plan, lease_token=token),
    )
    write_answer(speech, driver=driver, question=question, model=None, note=planning.note, end=end)


def _refuse(driver: Driver, question: Message, planning: Planning, problems: list[str]) -> None:
    speech = Speech(plain.no_plan(problems))
    error = {"code": "plan_invalid", "message": "No plan that can run came of this. " + problems[0]}
    run, token = driver.run, driver.token
    end = End(
        Message.Status.FAILED,
        lambda _: finish_run(run=run, status=Run.Status.FAILED, error=error, lease_token=token),
    )
    write_answer(speech, driver=driver, question=question, model=None, note=planning.note, end=end)


def _speak(driver: Driver, question: Message, planning: Planning, model: MeteredModel | None) -> None:
    """Answer without running anything: ask for what is missing, or just talk."""
    write_answer(
        _words(question, planning),
        driver=driver,
        question=question,
        model=None if planning.provider == llm.OFFLINE else model,
        note=planning.note,
        end=End(Message.Status.DONE, partial(_finish, driver, question)),
    )


def _words(question: Message, planning: Planning) -> Speech:
    text, missing, recalled = question.content, planning.draft.missing, planning.recalled
    if missing:
        return Speech(_signed(plain.asking(missing), question), prompts.asking(text, missing, recalled))
    if recalled.found:
        own = plain.remembered(recalled.found)
    else:
        own = plain.no_fit(planning.tools) if planning.tools else plain.no_tools()
    return Speech(_signed(own, question), prompts.direct(text, recalled))


def _answer(driver: Driver) -> None:
    run = driver.run
    prefetch_related_objects([run], "tool_runs")
    if run.plan is None or has_unfinished_steps(run.current_steps()):
        return _hand_on(driver)
    question, answer = _messages(run)
    model = None if (question.planning or {}).get("provider") == llm.OFFLINE else _model(question, answer)
    if model is None or not _planned_again(driver, question, model):
        _tell_results(driver, question, model)
    return None


def _planned_again(driver: Driver, question: Message, model: MeteredModel) -> bool:
    """Look at what came out: is there more to do, or another way?"""
    run = driver.run
    because = observing.reason_to_plan_again(steps_of_plan(run), question.planning or {})
    if not because or run.plan is None:
        return False
    so_far = SoFar(run.plan, run.current_steps(), because, observing.tools_of(run))
    try:
        planning = planner.plan_again(
            question.content,
            so_far,
            user=run.owner,
            recall=partial(_recalled, question, model),
            model=model,
            while_waiting=driver.beat,
        )
    except ModelError:
        return False  # what came out is told, by the plain text if need be
    finally:
        services.add_spent(message=question, spent=model.meter.take())
    told = observing.told_reason(because, steps_of_plan(run))
    return observing.goes_on(planning, so_far) and _revised(driver, question, planning, told)


def _revised(driver: Driver, question: Message, planning: Planning, because: str) -> bool:
    try:
        services.revise_plan(
            run=driver.run, question=question, planning=planning, because=because, lease_token=driver.token
        )
    except PlanError:  # a tool was changed or withdrawn since: the results so far are the answer
        question.refresh_from_db()
        return False
    return True


def _tell_results(driver: Driver, question: Message, model: MeteredModel | None) -> None:
    steps = steps_of_plan(driver.run)
    planning = question.planning or {}
    recalled = _recalled(question, model)
    speech = Speech(_signed(plain.of_steps(steps), question), prompts.answering(question.content, steps, recalled))
    write_answer(
        speech,
        driver=driver,
        question=question,
        model=model,
        note=" ".join(filter(None, [planning.get("note", ""), *map(plain.revised, planning.get("revisions", []))])),
        end=End(
            Message.Status.DONE if _failure(steps) is None else Message.Status.FAILED,
            partial(_finish, driver, question),
        ),
    )


def _signed(text: str, question: Message) -> str:
    """Without a model connected every answer says so."""
    provider = question.conversation.provider or settings.LLM_PROVIDER
    return f"{text}\n\n{plain.CONNECT}" if provider == llm.OFFLINE else text


def _failure(steps: list[ToolRun]) -> dict[str, str] | None:
    """The first step that did not succeed, as a run's error."""
    for step in steps:
        if step.status != ToolRun.Status.SUCCEEDED:
            error = step.error or {"code": step.status, "message": f"The step ended {step.status}."}
            return {"code": error.get("code", ""), "message": error.get("message", ""), "step": step.step}
    return None


def _finish(driver: Driver, question: Message, answer: Message) -> None:
    error = _failure(steps_of_plan(driver.run))
    services.finish_turn(run=driver.run, question=question, answer=answer, error=error, lease_token=driver.token)
