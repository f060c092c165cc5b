"""The turns of a chat, on queue `chat`: plan, and after the steps answer. Both are safe to run twice.

Between them the executor runs the steps (chains.jobs.drive_run). Each job starts from the rows alone.
"""

from functools import partial

from django.conf import settings

from chains.dispatch import dispatch
from chains.leases import release
from chains.models import Run, ToolRun
from chains.plan import PlanError
from chains.services import finish_run, set_plan
from chat import llm, planner, services
from chat.answers import Speech, write_answer
from chat.dispatching import has_unfinished_steps
from chat.driving import Driver, drive, mark_planning
from chat.llm import ChatModel
from chat.memory import Turn, recent_turns
from chat.models import Message
from chat.offline import answers as plain
from chat.planner import Planning, prompts


def plan_turn(run_id: str) -> None:
    drive(run_id, _plan)


def answer_turn(run_id: str) -> None:
    drive(run_id, _answer)


def _question(run: Run) -> Message:
    return Message.objects.get(run=run, role=Message.Role.USER)


def _history(question: Message) -> list[Turn]:
    return recent_turns(conversation_id=question.conversation_id, before=question)


def _hand_on(driver: Driver) -> None:
    """It is another job's turn: give the run back and queue that."""
    release(driver.run.pk, driver.token)
    dispatch(driver.run)


def _plan(driver: Driver) -> None:
    if driver.run.plan is not None:
        return _hand_on(driver)
    mark_planning(driver)
    question = _question(driver.run)
    planning = planner.plan(
        question.content,
        user=driver.run.owner,
        history=partial(_history, question),
        model=llm.chat_model(),
        while_waiting=driver.beat,
    )
    services.record_planning(question=question, planning=planning)
    if planning.problems:
        return _refuse(driver, question, planning, planning.problems)
    if planning.draft.steps and not planning.draft.missing:
        return _run_steps(driver, question, planning)
    return _speak(driver, question, planning)


def _run_steps(driver: Driver, question: Message, planning: Planning) -> None:
    try:
        set_plan(run=driver.run, plan=planning.draft.as_plan(), lease_token=driver.token)
    except PlanError as error:  # a tool was changed or withdrawn since the plan was checked
        _refuse(driver, question, planning, [problem.message for problem in error.problems])


def _refuse(driver: Driver, question: Message, planning: Planning, problems: list[str]) -> None:
    speech = Speech(plain.no_plan(problems))
    write_answer(speech, driver=driver, question=question, model=None, note=planning.note, status=Message.Status.FAILED)
    error = {"code": "plan_invalid", "message": "No plan that can run came of this. " + problems[0]}
    finish_run(run=driver.run, status=Run.Status.FAILED, error=error, lease_token=driver.token)


def _speak(driver: Driver, question: Message, planning: Planning) -> None:
    """Answer without running anything: ask for what is missing, or just talk."""
    model = _model_after(planning.provider)
    write_answer(
        _words(question, planning),
        driver=driver,
        question=question,
        model=model,
        note=planning.note,
        status=Message.Status.DONE,
    )
    _finish(driver, question)


def _words(question: Message, planning: Planning) -> Speech:
    text, history = question.content, _history(question)
    missing = planning.draft.missing
    if missing:
        return Speech(_signed(plain.asking(missing)), prompts.asking(text, missing, history))
    own = plain.no_fit(planning.tools) if planning.tools else plain.no_tools()
    return Speech(_signed(own), prompts.direct(text, history))


def _answer(driver: Driver) -> None:
    run = driver.run
    if run.plan is None or has_unfinished_steps(run):
        return _hand_on(driver)
    question = _question(run)
    if not _is_answered(run):
        _tell_results(driver, question)
    _finish(driver, question)


def _is_answered(run: Run) -> bool:
    answers = Message.objects.filter(run=run, role=Message.Role.ASSISTANT, attempt=run.attempt)
    return answers.exclude(status=Message.Status.STREAMING).exists()


def _tell_results(driver: Driver, question: Message) -> None:
    steps = driver.run.current_steps()
    provider = (question.planning or {}).get("provider", "")
    note = (question.planning or {}).get("note", "")
    speech = Speech(_signed(plain.of_steps(steps)), prompts.answering(question.content, steps, _history(question)))
    write_answer(
        speech,
        driver=driver,
        question=question,
        model=_model_after(provider),
        note=note,
        status=Message.Status.DONE if _failure(steps) is None else Message.Status.FAILED,
    )


def _model_after(provider: str) -> ChatModel | None:
    """The model that answers; none where the offline planner had to plan: then none is there, or it was just down."""
    return None if provider == llm.OFFLINE else llm.chat_model()


def _signed(text: str) -> str:
    """Without a model connected every answer says so."""
    return f"{text}\n\n{plain.CONNECT}" if settings.LLM_PROVIDER == llm.OFFLINE else text


def _failure(steps: list[ToolRun]) -> dict[str, str] | None:
    """The first step that did not succeed, as a run's error."""
    for step in steps:
        if step.status != ToolRun.Status.SUCCEEDED:
            error = step.error or {"code": step.status, "message": f"The step ended {step.status}."}
            return {"code": error.get("code", ""), "message": error.get("message", ""), "step": step.step}
    return None


def _finish(driver: Driver, question: Message) -> None:
    services.finish_turn(
        run=driver.run, question=question, error=_failure(driver.run.current_steps()), lease_token=driver.token
    )
