"""What happens to conversations and messages. Each verb owns its transaction."""

from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from chains import events
from chains.events import publish
from chains.leases import renew
from chains.models import Result, Run
from chains.plan import Toolbox, input_problems, missing_inputs, parse, with_defaults
from chains.services import Conflict, InputError, cancel, finish_run, set_plan, start_run
from chat import previews, telling
from chat.branches import newest_question
from chat.models import Conversation, Message
from registry.deleting import delete_whole
from registry.models import Policy, Tool
from registry.quotas import check_quota

if TYPE_CHECKING:  # a web process has no use for the model clients behind these, which take seconds to import
    from chat.metering import Spent
    from chat.planner import Planning

TITLE_CHARACTERS = 80
INPUT_REQUIRED = "INPUT_REQUIRED"  # {schema, message}: the run waits for what a form of this schema gives
PLAN_REVISED = "PLAN_REVISED"  # {because, say, replaced, steps}: the PLAN_READY after it has what is planned now


@transaction.atomic
def send_message(
    *,
    user: User,
    user_msg: str,
    conversation: Conversation | None = None,
    approval: str = "",
    provider: str = "",
    preview: bool | None = None,
    after: Message | None = None,
) -> tuple[Conversation, Message, Run]:
    """Acknowledge what the user says, in a new conversation or in this one of theirs, and have it planned.

    It follows the question `after`, else the newest. `provider` and `preview` are the conversation's from now on. What
    a form in it, or the preview of a plan, still asks for is no longer waited for.
    """
    if conversation is None:
        check_quota(user, "conversations", Conversation.objects.owned_by(user))
        conversation = Conversation.objects.create(owner=user, title=_title(user_msg))
    for asking in Run.objects.filter(pk__in=_asking(conversation)):
        cancel(run=asking)
    _set_up(conversation, provider, preview)
    before = after or newest_question(conversation)
    message, run = _ask(conversation, user_msg, parent=before, approval=approval)
    return conversation, message, run


def _set_up(conversation: Conversation, provider: str, preview: bool | None) -> None:
    conversation.provider = provider or conversation.provider
    conversation.preview = conversation.preview if preview is None else preview
    conversation.save(update_fields=["provider", "preview"])


def _ask(
    conversation: Conversation, user_msg: str, *, parent: Message | None, approval: str = ""
) -> tuple[Message, Run]:
    owner = conversation.owner
    run = start_run(user=owner, plan=None, kind=Run.Kind.CHAT, conversation_id=conversation.pk, approval=approval)
    message = conversation.messages.create(role=Message.Role.USER, content=user_msg, run=run, parent=parent)
    Conversation.objects.filter(pk=conversation.pk).update(updated_at=message.created_at)
    return message, run


@transaction.atomic
def edit_message(*, message: Message, user_msg: str, approval: str = "") -> tuple[Message, Run]:
    """Ask something else in the place of this question, in a branch of its own; what it started is stopped."""
    _stop_turn(message)
    return _ask(message.conversation, user_msg, parent=message.parent, approval=approval)


@transaction.atomic
def regenerate(*, message: Message) -> tuple[Message, Run]:
    """Ask the same again, in a branch of its own. Where its first run called something that does more than read, every
    step of the new one asks first: no write is repeated in silence."""
    _stop_turn(message)
    first = message.run
    approval = first.approval if first else ""
    if first is not None and has_written(first):
        approval = Policy.ASK
    return _ask(message.conversation, message.content, parent=message.parent, approval=approval)


def has_written(run: Run) -> bool:
    """Did it begin a call of a tool that is not known to only read?"""
    begun = list(run.tool_runs.exclude(started_at=None))
    tools = Tool.objects.filter(server__in=[row.server_id for row in begun], name__in=[row.tool for row in begun])
    reading = {(tool.server_id, tool.name) for tool in tools if tool.is_read_only}
    return any((row.server_id, row.tool) not in reading for row in begun)


def stop(*, conversation: Conversation) -> list[Run]:
    """Stop whatever goes on in it: models and tools within two seconds, what they gave stays."""
    stopped = []
    for run in Run.objects.unfinished().filter(conversation_id=conversation.pk):
        with suppress(Conflict):
            stopped.append(cancel(run=run))
    return stopped


def _stop_turn(message: Message) -> None:
    if message.run is not None and not message.run.is_finished:
        with suppress(Conflict):  # it ended in this moment
            cancel(run=message.run)


def _title(user_msg: str) -> str:
    line = " ".join(user_msg.split())
    return line if len(line) <= TITLE_CHARACTERS else f"{line[: TITLE_CHARACTERS - 1]}…"


@transaction.atomic
def delete_conversation(*, conversation: Conversation) -> None:
    """The conversation, its messages and its runs; whoever drives one of them finds its lease gone."""
    runs = Run.objects.filter(conversation_id=conversation.pk)
    list(runs.select_for_update().order_by("pk").values_list("pk"))  # nobody adds to them between looking and deleting
    runs.delete()
    delete_whole(conversation)


def _asking(conversation: Conversation) -> "QuerySet[Message, Any]":
    """The ids of its runs that wait for a form, or for a word on their plan."""
    asks = Q(planning__has_key="form") | Q(planning__has_key="preview")
    waiting = conversation.messages.filter(asks, run__status=Run.Status.AWAITING_APPROVAL)
    return waiting.values("run_id")


def record_planning(*, question: Message, planning: "Planning", spent: "Spent") -> None:
    """How the question was planned, beside the question; one that was deleted meanwhile needs it no more."""
    question.planning = planning.as_json()
    question.provider, question.model = planning.provider, planning.model
    told = {"planning": question.planning, "provider": question.provider, "model": question.model}
    add_spent(message=question, spent=spent, also=told)


def add_spent(*, message: Message, spent: "Spent", also: Mapping[str, Any] | None = None) -> None:
    """`also`: what else its row is to say."""
    cost = None if spent.cost_usd is None else Coalesce("cost_usd", Decimal()) + spent.cost_usd
    Message.objects.filter(pk=message.pk).update(
        input_tokens=F("input_tokens") + spent.usage.input_tokens,
        output_tokens=F("output_tokens") + spent.usage.output_tokens,
        model_calls=F("model_calls") + spent.model_calls,
        model_seconds=F("model_seconds") + round(spent.seconds, 3),
        **({} if cost is None else {"cost_usd": cost}),
        **(also or {}),
    )


@transaction.atomic
def revise_plan(*, run: Run, question: Message, planning: "Planning", because: str, lease_token: int) -> None:
    """Go on with another plan: what is done stays, what failed is dropped from it. Raises PlanError or LostLease."""
    plan = planning.draft.as_plan()
    revision = _note_revision(run, question, planning, because)
    publish(run.pk, [(PLAN_REVISED, revision)], lease_token=lease_token)
    if lacking_inputs(run, plan):
        wait_for_inputs(run=run, question=question, plan=plan, lease_token=lease_token)
    else:
        set_plan(run=run, plan=plan, lease_token=lease_token)


def _note_revision(run: Run, question: Message, planning: "Planning", because: str) -> dict[str, Any]:
    """Beside the question: why there is another plan, and what it replaces."""
    steps = [step["id"] for step in planning.draft.steps]
    before = [step["id"] for step in (run.plan or {}).get("steps", [])]
    revision = {
        "because": because,
        "say": planning.draft.say,
        "replaced": [step for step in before if step not in steps],
        "steps": [step for step in steps if step not in before],
    }
    told = dict(question.planning or {})
    told |= {"look": planning.draft.look, "revisions": [*told.get("revisions", []), revision]}
    question.planning = told
    question.save(update_fields=["planning"])
    return revision


def lacking_inputs(run: Run, plan: Mapping[str, Any]) -> list[str]:
    """Required inputs of a plan that the run was not given."""
    return [name for name in plan.get("inputs", {}).get("required", []) if name not in run.inputs]


@transaction.atomic(savepoint=False)
def wait_for_inputs(*, run: Run, question: Message, plan: dict[str, Any], lease_token: int) -> None:
    """Ask the user for what the plan lacks: the run is given back until `provide_inputs`. Raises LostLease."""
    renew(run.pk, lease_token)
    names = lacking_inputs(run, plan)
    properties = {name: plan["inputs"]["properties"][name] for name in names}
    schema = {"type": "object", "properties": properties, "required": names}
    question.planning = (question.planning or {}) | {"form": {"schema": schema, "plan": plan}}
    question.save(update_fields=["planning"])
    message = str((question.planning or {}).get("say", ""))
    publish(run.pk, [(INPUT_REQUIRED, {"schema": schema, "message": message})], lease_token=lease_token)
    Run.objects.filter(pk=run.pk).update(status=Run.Status.AWAITING_APPROVAL, lease_expires_at=None)


@transaction.atomic
def provide_inputs(*, run: Run, inputs: Mapping[str, Any]) -> Run:
    """What the form asked for: the turn goes on with it. Raises InputError, PlanError, Conflict."""
    run = Run.objects.select_for_update().get(pk=run.pk)
    question = Message.objects.filter(run=run, role=Message.Role.USER).first()
    form = (question.planning or {}).get("form") if question else None
    if question is None or form is None or run.status != Run.Status.AWAITING_APPROVAL:
        raise Conflict("not_waiting", "This run does not wait for inputs.")
    plan = parse(form["plan"])
    given = with_defaults(plan, run.inputs | dict(inputs))
    if problems := [*input_problems(plan, given), *missing_inputs(plan, given)]:
        raise InputError(problems)
    Run.objects.filter(pk=run.pk).update(inputs=given)
    told = {name: value for name, value in (question.planning or {}).items() if name != "form"}
    question.planning = told | {"given": dict(inputs)}
    question.save(update_fields=["planning"])
    go_on(run=run, question=question, plan=form["plan"], lease_token=run.lease_token)
    run.refresh_from_db()
    return run


def go_on(
    *, run: Run, question: Message, plan: dict[str, Any], lease_token: int, toolbox: Toolbox | None = None
) -> None:
    """Run a complete plan, or show it first where the conversation is held so. Raises PlanError or LostLease."""
    if question.conversation.preview:
        previews.wait_for_approval(run=run, question=question, plan=plan, lease_token=lease_token)
    else:
        set_plan(run=run, plan=plan, lease_token=lease_token, toolbox=toolbox)


@transaction.atomic
def start_answer(*, run: Run, question: Message, provider: str, model: str, note: str, lease_token: int) -> Message:
    """An empty answer in the making; one that was begun before is begun anew. Raises LostLease."""
    told = {"role": Message.Role.ASSISTANT, "provider": provider, "model": model, "note": note}
    state: dict[str, Any] = {
        "conversation_id": question.conversation_id,
        "parent": question,
        "content": "",
        "status": Message.Status.STREAMING,
        "provider": provider,
        "model": model,
        "note": note,
        "attempt": run.attempt,
    }
    found = Message.objects.filter(run=run, role=Message.Role.ASSISTANT).first()
    answer = found or Message(run=run, role=Message.Role.ASSISTANT)
    for name, value in state.items():  # nobody but the lease's holder writes it
        setattr(answer, name, value)
    started = (events.TEXT_MESSAGE_START, {"message_id": str(answer.pk), **told})
    events.publish(run.pk, [started], lease_token=lease_token)  # first: it tells whether there still is a run
    if found:
        answer.save(update_fields=["content", "status", "provider", "model", "note", "attempt"])
    else:
        answer.save(force_insert=True)
    return answer


def add_to_answer(*, answer: Message, delta: str, lease_token: int) -> None:
    """A piece of the answer. Raises LostLease."""
    assert answer.run_id is not None
    data = {"message_id": str(answer.pk), "delta": delta}
    telling.tell(answer.run_id, events.TEXT_MESSAGE_CONTENT, data, lease_token=lease_token)


@transaction.atomic(savepoint=False)
def end_answer(*, answer: Message, content: str, status: str, spent: "Spent", lease_token: int) -> None:
    """The answer as it stays. Raises LostLease."""
    assert answer.run_id is not None
    answer.content, answer.status = content, status
    usage = {
        "input_tokens": spent.usage.input_tokens,
        "output_tokens": spent.usage.output_tokens,
        "cost_usd": None if spent.cost_usd is None else float(spent.cost_usd),
    }
    data = {"message_id": str(answer.pk), "status": status, "usage": usage}
    events.publish(answer.run_id, [(events.TEXT_MESSAGE_END, data)], lease_token=lease_token)
    add_spent(message=answer, spent=spent, also={"content": content, "status": status})
    Conversation.objects.filter(pk=answer.conversation_id).update(updated_at=timezone.now())


@transaction.atomic(savepoint=False)
def finish_turn(
    *, run: Run, question: Message, answer: Message, error: dict[str, str] | None, lease_token: int
) -> None:
    """The end of an answered run; the answer of one that called tools stays as a result. Raises LostLease."""
    outputs = {"answer": answer.content}
    if error is not None:
        finish_run(run=run, status=Run.Status.FAILED, outputs=outputs, error=error, lease_token=lease_token)
        return
    finish_run(run=run, status=Run.Status.SUCCEEDED, outputs=outputs, lease_token=lease_token)
    if run.plan is not None:
        _keep(run, question, answer)


def _keep(run: Run, question: Message, answer: Message) -> None:
    Result.objects.create(
        owner_id=run.owner_id,
        run=run,
        kind=Result.Kind.SUMMARY,
        title=_title(question.content),
        summary=answer.content,
        size_bytes=len(answer.content.encode()),
    )
