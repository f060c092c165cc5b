"""Pages of templates and runs, and what their buttons do."""

import json
import uuid
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from chains import artifacts, services
from chains.changes import REDEFINED, changes_of, explained
from chains.drawing import drawing_of, drawing_of_plan
from chains.forms import InputsForm, TemplateForm
from chains.history import without_hidden_templates
from chains.models import Result, Run, Schedule, Template
from chains.parameters import literals_of
from chains.plan import PlanError, Problem
from chains.recall import search_results
from registry.deleting import delete_whole
from registry.pages import Page, PageRequest, paginate, says_errors, triggered
from registry.services.sharing import MayNotShare
from registry.sharing_pages import shared_by_form, sharing_of

RUNS_SHOWN = 5
REFUSALS = (PlanError, services.InputError, services.Conflict)


def own_run(request: PageRequest, pk: uuid.UUID) -> Run:
    run = get_object_or_404(Run.objects.owned_by(request.user).select_related("template"), pk=pk)
    (run,) = without_hidden_templates([run], request.user)
    return run


def own_template(request: PageRequest, pk: uuid.UUID) -> Template:
    """One the user may change."""
    return get_object_or_404(Template.objects.owned_by(request.user), pk=pk)


def visible_template(request: PageRequest, pk: uuid.UUID) -> Template:
    """One the user may run: their own, or shared with a team of theirs."""
    return get_object_or_404(Template.objects.visible_to(request.user).select_related("owner", "team"), pk=pk)


def run_changed(request: PageRequest, run: Run) -> HttpResponse:
    """A live timeline draws itself anew; without JavaScript the run's page shows what came of it."""
    return triggered("runChanged", str(run.pk)) if request.htmx else redirect("run", run.pk)


@login_required
@require_GET
def run(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """htmx gets the part that changes; with `?at=start` as it was before anything happened, to be played again."""
    run = own_run(request, pk)
    drawing = drawing_of(run)
    if request.GET.get("at") == "start":
        drawing = drawing.rewound
    context = {"run": run, "page_run": run, "drawing": drawing}
    if request.htmx:
        return render(request, "chains/run.html#live", context)
    return render(request, "chains/run.html", context | {"earlier": Run.objects.before(run).first()})


@login_required
@require_POST
@says_errors(*REFUSALS)
def run_cancel(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    return run_changed(request, services.cancel(run=own_run(request, pk)))


@login_required
@require_POST
@says_errors(*REFUSALS)
def run_retry(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    return run_changed(request, services.retry(run=own_run(request, pk)))


@login_required
@require_POST
@says_errors(*REFUSALS)
def run_approve(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    step, approval_hash = request.POST.get("step"), request.POST.get("approval_hash", "")
    arguments, plan = changed_arguments(request), "plan" in request.POST
    run = services.approve(
        run=own_run(request, pk),
        user=request.user,
        approval_hash=approval_hash,
        step=step,
        arguments=arguments,
        plan=plan,
    )
    return run_changed(request, run)


def changed_arguments(request: PageRequest) -> dict[str, Any] | None:
    """What a person wrote in the place of the arguments that were shown; None where nothing was. Raises Conflict."""
    return read_arguments(request.POST.get("arguments", ""))


def read_arguments(text: str) -> dict[str, Any] | None:
    """None where nothing was written. Raises Conflict."""
    text = text.strip()
    try:
        arguments = json.loads(text) if text else None
        json.dumps(arguments, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise services.Conflict("not_json", "The arguments are not JSON; text goes in double quotes.") from error
    if not isinstance(arguments, dict | None) or "\\u0000" in text:
        raise services.Conflict("not_json", "The arguments are one JSON object, without NUL characters.")
    return arguments


@login_required
@require_POST
@says_errors(*REFUSALS)
def run_reject(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    run = services.reject(run=own_run(request, pk), user=request.user, step=request.POST.get("step"))
    return run_changed(request, run)


@login_required
@require_POST
@says_errors(*REFUSALS)
def run_resolve(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """What a person found out about a call that may have happened."""
    run, said = own_run(request, pk), request.POST
    if said.get("action") not in services.Resolution.values:
        raise Http404("There is no such answer.")
    result = said.get("result", "").replace("\x00", "")[: artifacts.INLINE_BYTES // 4]
    run = services.resolve(run=run, user=request.user, step=said.get("step", ""), action=said["action"], result=result)
    return run_changed(request, run)


@login_required
@require_POST
@says_errors(*REFUSALS)
def run_execute(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """The same plan with the same inputs, as a new run."""
    first = own_run(request, pk)
    again = services.start_run(
        user=request.user, plan=first.plan, inputs=first.inputs, approval=first.approval, template=first.template
    )
    return redirect("run", again.pk)


@login_required
@require_GET
def templates(request: PageRequest) -> HttpResponse:
    whose = whose_of(request)
    found = Template.objects.of(request.user, whose).with_last_run(request.user)
    page = paginate(request, found.select_related("schedule", "owner", "team"))
    changes = changes_of(page.items, request.user)
    last = Run.objects.in_bulk([template.last_run_id for template in page.items])
    rows = [(template, changes[template.pk], last.get(template.last_run_id)) for template in page.items]
    return render(request, "chains/templates.html", {"page": page, "rows": rows, "whose": whose})


@login_required
@says_errors(*REFUSALS)
def template_new(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Keep the plan of a run as a template."""
    run = own_run(request, pk)
    form = TemplateForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        template = services.save_template(
            user=request.user, run=run, parameters=request.POST.getlist("parameters"), **form.cleaned_data
        )
        messages.success(request, "Saved. It stands in the sidebar now, one click from running again.")
        return redirect("template", template.pk)
    context = {"form": form, "run": run, "planned": drawing_of_plan(run.plan), "literals": literals_of(run.plan)}
    return render(request, "chains/template_new.html", context)


@login_required
@require_GET
def template(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    template = visible_template(request, pk)
    return template_page(request, template, InputsForm(template.plan.get("inputs")))


def template_page(
    request: PageRequest, template: Template, inputs: InputsForm, problems: Sequence[Problem] = (), status: int = 200
) -> HttpResponse:
    changes = explained(changes_of([template], request.user)[template.pk])
    is_own = template.owner_id == request.user.pk
    context = {
        "template": template,
        "changes": changes,
        "can_accept": is_own and all(change.kind == REDEFINED for change in changes),
        "inputs": inputs,
        "rename": TemplateForm(instance=template),
        "is_own": is_own,
        "sharing": sharing_of(template, request.user),
        "drawing": drawing_of_plan(template.plan),
        "runs": template.runs.filter(owner=request.user)[:RUNS_SHOWN],
        "problems": problems,
        "schedule": Schedule.objects.filter(template=template).select_related("last_run").first(),
        "former": template.former.select_related("saved_by").defer("plan"),
    }
    return render(request, "chains/template.html", context, status=status)


@login_required
@require_POST
@says_errors(services.Conflict)
def template_execute(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Run a template with what its form says; problems stand at the fields, and nothing typed is lost."""
    template = visible_template(request, pk)
    form = InputsForm(template.plan.get("inputs"), request.POST)
    if not form.is_valid():
        return template_page(request, template, form, status=400)
    approval = request.POST.get("approval", "")
    try:
        run = services.start_run(user=request.user, plan=None, template=template, inputs=form.values, approval=approval)
    except services.InputError as error:
        for problem in error.problems:
            form.add_problem(problem.path, problem.message)
        return template_page(request, template, form, status=400)
    except PlanError as error:
        return template_page(request, template, form, error.problems, status=400)
    return redirect("run", run.pk)


@login_required
@require_POST
@says_errors(*REFUSALS)
def template_accept(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Keep the plan with its tools as they are defined now."""
    template = own_template(request, pk)
    services.update_template(template=template, plan=template.plan)
    messages.success(request, "Kept with its tools as they are now. It runs again.")
    return redirect("template", pk)


@login_required
@require_POST
def template_rename(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    template = own_template(request, pk)
    form = TemplateForm(request.POST)
    if not form.is_valid():
        messages.error(request, "A template needs a name of at most 200 characters.")
        return redirect("template", pk)
    services.update_template(template=template, **form.cleaned_data)
    messages.success(request, "Saved.")
    return redirect("template", pk)


@login_required
@require_POST
def template_delete(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    delete_whole(own_template(request, pk))
    messages.success(request, "Template deleted. Its runs and results are kept.")
    return redirect("templates")


@login_required
@require_POST
@says_errors(MayNotShare)
def template_share(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    template = visible_template(request, pk)
    shared_by_form(request, template)
    return redirect("template", pk) if may_see(template, request) else redirect("templates")


@login_required
@require_POST
@says_errors(MayNotShare)
def result_share(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    result = get_object_or_404(Result.objects.visible_to(request.user), pk=pk)
    shared_by_form(request, result)
    return redirect("result", pk) if may_see(result, request) else redirect("results")


def may_see(thing: Template | Result, request: PageRequest) -> bool:
    """An admin of a team who ended the sharing sees it no longer."""
    return type(thing).objects.visible_to(request.user).filter(pk=thing.pk).exists()


@login_required
@require_GET
def results(request: PageRequest) -> HttpResponse:
    q = request.GET.get("q", "").replace("\x00", "").strip()
    whose = whose_of(request)
    visible = Result.objects.of(request.user, whose).defer("embedding").select_related("run", "owner", "team")
    page = _found(visible, q) if q else paginate(request, visible)
    return render(request, "chains/results.html", {"page": page, "q": q, "whose": whose})


@login_required
@require_GET
def result(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    visible = Result.objects.visible_to(request.user).defer("embedding").select_related("run", "owner", "team")
    found = get_object_or_404(visible, pk=pk)
    return render(request, "chains/result.html", {"result": found, "sharing": sharing_of(found, request.user)})


def whose_of(request: PageRequest) -> str:
    """What `?owner=` narrows a list to: "me", "shared", or "" for all."""
    asked = request.GET.get("owner", "")
    return asked if asked in ("me", "shared") else ""


def _found(visible: QuerySet[Result], q: str) -> Page:
    """The best first, in one page."""
    found = [hit.result for hit in search_results(q, results=visible)]
    return Page(found, None, len(found))
