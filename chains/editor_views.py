"""The page on which a plan is made and changed. Each edit posts the whole form and gets the editor anew."""

import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET
from django_htmx.http import HttpResponseClientRedirect

from chains import services
from chains.changes import changes_of, explained
from chains.differences import differences
from chains.editing import EMPTY
from chains.editor import POLICIES, TYPES, Editor, edited
from chains.forms import TemplateForm
from chains.models import Template
from chains.plan import PlanError
from chains.views import own_template
from registry.models import Tool
from registry.pages import PageRequest
from registry.search import ToolSearchResult, search_tools

TOOLS_FOUND = 8


@login_required
def template_make(request: PageRequest) -> HttpResponse:
    return editing(request, None)


@login_required
def template_edit(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    return editing(request, own_template(request, pk))


@login_required
@require_GET
def tools_found(request: PageRequest) -> HttpResponse:
    return render(request, "chains/_tools_found.html", {"found": found_tools(request, request.GET.get("q", ""))})


def editing(request: PageRequest, template: Template | None) -> HttpResponse:
    if request.method != "POST":
        editor = Editor(template.plan if template else EMPTY, request.user)
        return editor_page(request, template, editor, TemplateForm(instance=template))
    editor, form = edited(request.POST, request.user), TemplateForm(request.POST)
    if wants_save(request) and form.is_valid() and not editor.unread and not editor.text_error:
        try:
            saved = save(request, template, editor, form)
        except PlanError:
            return editor_page(request, template, editor, form)  # which shows its problems
        except services.Conflict:
            return editor_page(request, template, editor, form, is_overtaken=True)
        messages.success(request, f"Saved as version {saved.version}.")
        there = reverse("template", args=[saved.pk])
        return HttpResponseClientRedirect(there) if request.htmx else redirect(there)
    return editor_page(request, template, editor, form)


def wants_save(request: PageRequest) -> bool:
    """`overwrite:3` saves over version 3, which the person was told about."""
    return request.POST.get("do", "").partition(":")[0] in ("save", "overwrite")


def save(request: PageRequest, template: Template | None, editor: Editor, form: TemplateForm) -> Template:
    if template is None:
        return services.save_template(user=request.user, plan=editor.data, **form.cleaned_data)
    base = request.POST["do"].partition(":")[2] or request.POST.get("base", "")
    version = int(base) if base.isdecimal() and len(base) < 9 else None
    return services.update_template(template=template, plan=editor.data, version=version, **form.cleaned_data)


def editor_page(
    request: PageRequest, template: Template | None, editor: Editor, form: TemplateForm, *, is_overtaken: bool = False
) -> HttpResponse:
    """`is_overtaken`: another version was saved since this one was opened; it is shown, nothing is lost."""
    q = request.POST.get("q", "")
    if is_overtaken and template:
        template.refresh_from_db()
    context = {
        "template": template,
        "editor": editor,
        "drawing": editor.drawing,
        "form": form,
        "changes": explained(changes_of([template], request.user)[template.pk]) if template else [],
        "policies": POLICIES,
        "types": TYPES,
        "q": q,
        "found": found_tools(request, q) if q else None,
        "action": request.path,
        "wants_save": wants_save(request),
        "focus": f"a{len(editor.steps) - 1}-0" if request.POST.get("do", "").startswith("add:") else "",
        "base": request.POST.get("base") or (template.version if template else ""),
        "overtaking": differences(template.plan, editor.data) if is_overtaken and template else None,
    }
    name = "chains/editor.html#editor" if request.htmx else "chains/editor.html"
    return render(request, name, context)


def found_tools(request: PageRequest, q: str) -> ToolSearchResult:
    return search_tools(q.replace("\x00", "")[:500], tools=Tool.objects.authorised_by(request.user), limit=TOOLS_FOUND)
