"""Pages of a template's versions, its copies, and its file."""

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from chains import services
from chains.differences import differences
from chains.drawing import drawing_of_plan
from chains.forms import ImportForm, InputsForm, ScheduleForm
from chains.models import Schedule, Template
from chains.plan import PlanError
from chains.schedules import next_times, set_schedule
from chains.template_api import TemplateFile
from chains.template_files import import_template
from chains.template_rows import duplicate_template
from chains.views import REFUSALS, own_template, visible_template
from registry.pages import PageRequest, first_sentence, says_errors


def plan_of(template: Template, version: int) -> Any:
    """404 where there is no such version."""
    if version == template.version:
        return template.plan
    return get_object_or_404(template.former, version=version).plan


@login_required
@require_GET
def template_version(request: PageRequest, pk: uuid.UUID, version: int) -> HttpResponse:
    """A version, and what is different from it to another one: the present one unless `?with=` names it."""
    template = own_template(request, pk)
    asked = request.GET.get("with", "")
    other = int(asked) if asked.isdecimal() and len(asked) < 9 else template.version
    plan = plan_of(template, version)
    context = {
        "template": template,
        "version": version,
        "other": other,
        "versions": [template.version, *template.former.values_list("version", flat=True)],
        "differences": differences(plan, plan_of(template, other)),
        "drawing": drawing_of_plan(plan),
    }
    return render(request, "chains/version.html", context)


@login_required
@require_POST
@says_errors(*REFUSALS)
def template_restore(request: PageRequest, pk: uuid.UUID, version: int) -> HttpResponse:
    """A former plan as the newest version; the present one is kept."""
    template = own_template(request, pk)
    restored = services.update_template(template=template, plan=plan_of(template, version))
    messages.success(request, f"Version {version} is back, as version {restored.version}.")
    return redirect("template", pk)


@login_required
@require_POST
def template_duplicate(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    copy = duplicate_template(template=visible_template(request, pk), owner=request.user)
    messages.success(request, "This is the copy. Rename it, change it: the first one stays as it is.")
    return redirect("template", copy.pk)


@login_required
def template_import(request: PageRequest) -> HttpResponse:
    """Keep a template from a file or from pasted text."""
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid() and (kept := kept_from(request, form)):
        return redirect("template", kept.pk)
    return render(request, "chains/template_import.html", {"form": form}, status=400 if form.errors else 200)


def kept_from(request: PageRequest, form: ImportForm) -> Template | None:
    """The template, with a word about what it lacks here; None, with an error in the form, where it is refused."""
    file = TemplateFile(data=form.cleaned_data["content"])
    if not file.is_valid():
        field, said = next(iter(file.errors.items()))
        form.add_error(None, f"{field}: {first_sentence(said)}")
        return None
    try:
        imported = import_template(user=request.user, file=file.validated_data)
    except PlanError as error:
        form.add_error(None, error.message)
        return None
    for problem in imported.missing:
        messages.warning(request, f"{problem.message} ({problem.path})")
    messages.success(request, "Imported." if not imported.missing else "Imported; settle what is missing to run it.")
    return imported.template


@login_required
def template_schedule(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Have it run by itself, with inputs of its own; or not any more."""
    template = own_template(request, pk)
    schedule = Schedule.objects.filter(template=template).first()
    if "stop" in request.POST:
        Schedule.objects.filter(template=template).delete()
        messages.success(request, "It does not run by itself any more.")
        return redirect("template", pk)
    form = ScheduleForm(request.POST or None, instance=schedule)
    given = schedule.inputs if schedule else None
    inputs = InputsForm(template.plan.get("inputs"), request.POST or None, initial=given)
    if request.method == "POST" and form.is_valid() and inputs.is_valid():
        kept = set_schedule(template=template, inputs=inputs.values, **form.cleaned_data)
        messages.success(request, f"It runs by itself from {kept.next_at:%Y-%m-%d %H:%M} UTC on.")
        return redirect("template", pk)
    times = next_times(schedule, timezone.now()) if schedule else []
    context = {"template": template, "schedule": schedule, "form": form, "inputs": inputs, "times": times}
    return render(request, "chains/schedule.html", context, status=400 if form.errors or inputs.errors else 200)


@login_required
@require_POST
def schedule_times(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """When it would run by what stands in the form, while it is filled in."""
    own_template(request, pk)
    form = ScheduleForm(request.POST)
    times = next_times(form.save(commit=False), timezone.now()) if form.is_valid() else []
    problem = next((first_sentence(said) for said in form.errors.values()), "")
    return render(request, "chains/_times.html", {"times": times, "problem": problem})
