"""The HTTP API of plans, runs, templates and results: the caller's own, and of templates and results what is shared
with a team of theirs; what is another's is not found."""

from collections.abc import AsyncIterator, Callable
from typing import IO, Any, TypeVar
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db.models import Prefetch, QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import generics, status
from rest_framework.exceptions import APIException, NotFound, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chains import files, services
from chains.history import SORTS, listed
from chains.models import Result, Run, RunEvent, Template, ToolRun
from chains.plan import PlanError, check, errors
from chains.recall import search_results
from chains.serializers import (
    ApproveInput,
    EventSerializer,
    ExecuteInput,
    PlanInput,
    RejectInput,
    ResolveInput,
    ResultSerializer,
    RunFilters,
    RunSerializer,
    RunSummarySerializer,
    StartedSerializer,
    TemplateInput,
    TemplatePatch,
    TemplateSerializer,
    ValiditySerializer,
    WhoseFilter,
)
from registry.api import caller
from registry.deleting import delete_whole
from registry.inputs import Words, asked, validated
from registry.sharing_api import SharedSerializer, shared, team_told

STEPS_IN_A_LIST = Prefetch("tool_runs", ToolRun.objects.defer("arguments", "result"))
CHUNK_BYTES = 64 * 1024
T = TypeVar("T")
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, description="A repeat with the same key returns the first run."
)


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT


class InvalidPlan(APIException):
    """400 with every problem: `{"error": {"code": "invalid_plan", "message", "fields": {"problems": […]}}}`."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "invalid_plan"

    def __init__(self, error: PlanError) -> None:
        super().__init__(error.message)
        self.fields = {"problems": [problem.as_json() for problem in error.problems]}


class InvalidInputs(APIException):
    """400 with a sentence for each input: `"fields": {"city": ["…"]}`."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "invalid_inputs"

    def __init__(self, error: services.InputError) -> None:
        first = error.problems[0]
        super().__init__(f"inputs{first.path}: {first.message}")
        self.fields: dict[str, list[str]] = {}
        for problem in error.problems:
            self.fields.setdefault(problem.path.strip("/") or "inputs", []).append(problem.message)


def answered(verb: Callable[..., T], **arguments: Any) -> T:
    """What the service returns; what it refuses, in the API's words."""
    try:
        return verb(**arguments)
    except PlanError as error:
        raise InvalidPlan(error) from error
    except services.InputError as error:
        raise InvalidInputs(error) from error
    except services.Conflict as error:
        raise Conflict(error.message, error.code) from error


def own(queryset: QuerySet[Any], **lookup: Any) -> Any:
    found = queryset.filter(**lookup).first()
    if found is None:
        raise NotFound(f"You have no such {queryset.model._meta.verbose_name}.")
    return found


def check_own(template: Template, user: User) -> None:
    """Of one that the user may see. Raises PermissionDenied."""
    if template.owner_id != user.pk:
        raise PermissionDenied("Only its owner may change this template: run it, or make a copy of your own.")


class Execute(APIView):
    @extend_schema(parameters=[IDEMPOTENCY_KEY], request=ExecuteInput, responses={202: StartedSerializer})
    def post(self, request: Request) -> Response:
        """Run a saved template or a plan."""
        fields = validated(ExecuteInput(data=request.data))
        template_id = fields.pop("template_id", None)
        template = own(Template.objects.visible_to(request.user), pk=template_id) if template_id else None
        key = request.headers.get("Idempotency-Key", "")
        if len(key) > 200:
            raise ValidationError({"Idempotency-Key": ["At most 200 characters."]})
        fields |= {"user": request.user, "template": template, "idempotency_key": key}
        run = answered(services.start_run, **({"plan": None} | fields))
        return Response(StartedSerializer(run).data, status=status.HTTP_202_ACCEPTED)


class Validate(APIView):
    @extend_schema(request=PlanInput, responses=ValiditySerializer)
    def post(self, request: Request) -> Response:
        """Everything that is wrong with a plan; nothing runs."""
        _, problems = check(validated(PlanInput(data=request.data))["plan"], user=caller(request))
        return Response({"valid": not errors(problems), "problems": [problem.as_json() for problem in problems]})


class RunList(generics.ListAPIView[Run]):
    """Newest first; the results of steps are in the run itself, not in the list."""

    serializer_class = RunSummarySerializer

    @extend_schema(parameters=[RunFilters])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Run]:
        filters = asked(RunFilters, self.request)
        assert self.paginator is not None
        self.paginator.ordering = SORTS[filters.get("sort", "newest")]  # type: ignore[attr-defined]
        return listed(Run.objects.owned_by(self.request.user), filters).prefetch_related(STEPS_IN_A_LIST)


class RunDetail(APIView):
    @extend_schema(responses=RunSerializer)
    def get(self, request: Request, pk: Any) -> Response:
        """A run with its plan, steps, outputs and times."""
        return Response(RunSerializer(own(Run.objects.owned_by(request.user), pk=pk)).data)


class RunEvents(generics.ListAPIView[RunEvent]):
    """What happened in a run, oldest first: the rows its stream sends. Old events are compacted (docs/operating.md)."""

    serializer_class = EventSerializer

    def get_queryset(self) -> QuerySet[RunEvent]:
        run = own(Run.objects.owned_by(self.request.user), pk=self.kwargs["pk"])
        assert self.paginator is not None
        self.paginator.ordering = ("seq",)  # type: ignore[attr-defined]
        return run.events.all()


class RunApprove(APIView):
    @extend_schema(request=ApproveInput, responses=RunSerializer)
    def post(self, request: Request, pk: Any) -> Response:
        """Let a waiting step run with the arguments that were shown (their hash)."""
        run = own(Run.objects.owned_by(request.user), pk=pk)
        fields = validated(ApproveInput(data=request.data))
        return Response(RunSerializer(answered(services.approve, run=run, user=request.user, **fields)).data)


class RunReject(APIView):
    @extend_schema(request=RejectInput, responses=RunSerializer)
    def post(self, request: Request, pk: Any) -> Response:
        """Refuse what waits: the run fails, and nothing is called for it."""
        run = own(Run.objects.owned_by(request.user), pk=pk)
        fields = validated(RejectInput(data=request.data))
        return Response(RunSerializer(answered(services.reject, run=run, user=request.user, **fields)).data)


class RunResolve(APIView):
    @extend_schema(request=ResolveInput, responses=RunSerializer)
    def post(self, request: Request, pk: Any) -> Response:
        """Say what becomes of a step that may have happened: repeat it, skip it with a result, or stop the run."""
        run = own(Run.objects.owned_by(request.user), pk=pk)
        fields = validated(ResolveInput(data=request.data))
        return Response(RunSerializer(answered(services.resolve, run=run, user=request.user, **fields)).data)


class RunCancel(APIView):
    @extend_schema(request=None, responses=RunSerializer)
    def post(self, request: Request, pk: Any) -> Response:
        """Stop a run; it is over within two seconds."""
        run = own(Run.objects.owned_by(request.user), pk=pk)
        return Response(RunSerializer(answered(services.cancel, run=run)).data)


class RunRetry(APIView):
    @extend_schema(request=None, responses=RunSerializer)
    def post(self, request: Request, pk: Any) -> Response:
        """Go on from the first unfinished step, as a new attempt."""
        run = own(Run.objects.owned_by(request.user), pk=pk)
        return Response(RunSerializer(answered(services.retry, run=run)).data)


class TemplateList(generics.ListAPIView[Template]):
    """Your saved templates, newest first."""

    serializer_class = TemplateSerializer

    def get_queryset(self) -> QuerySet[Template]:
        asked = validated(WhoseFilter(data=self.request.query_params))
        return Template.objects.of(self.request.user, asked.get("owner", ""))

    @extend_schema(parameters=[WhoseFilter])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The caller's own, and what others share with a team of theirs."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=TemplateInput, responses={201: TemplateSerializer})
    def post(self, request: Request) -> Response:
        """Save a plan, or the plan of a run."""
        fields = validated(TemplateInput(data=request.data))
        team = team_told(fields, caller(request))
        fields.pop("team", None)
        run_id = fields.pop("run_id", None)
        run = own(Run.objects.owned_by(request.user), pk=run_id) if run_id else None
        template = answered(services.save_template, user=request.user, run=run, **fields)
        if team is not None:
            shared(template, team, caller(request))
        return Response(TemplateSerializer(template).data, status=status.HTTP_201_CREATED)


class TemplateDetail(APIView):
    @extend_schema(responses=TemplateSerializer)
    def get(self, request: Request, pk: Any) -> Response:
        """A saved template with its plan."""
        return Response(TemplateSerializer(own(Template.objects.visible_to(request.user), pk=pk)).data)

    @extend_schema(request=TemplatePatch, responses=TemplateSerializer)
    def patch(self, request: Request, pk: Any) -> Response:
        """Rename or describe a template, or give it another plan: that is its next version. The admins of the team it
        is shared with may send `"team": null` alone: it is shared no longer."""
        template, user = own(Template.objects.visible_to(request.user), pk=pk), caller(request)
        fields = validated(TemplatePatch(data=request.data))
        team, says_team = team_told(fields, user), "team" in fields
        fields.pop("team", None)
        if fields or not says_team:
            check_own(template, user)
            template = answered(services.update_template, template=template, **fields)
        if says_team:
            shared(template, team, user)
        return Response(TemplateSerializer(template).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: Any) -> Response:
        """Remove a template. Its runs stay."""
        template = own(Template.objects.visible_to(request.user), pk=pk)
        check_own(template, caller(request))
        delete_whole(template)
        return Response(status=status.HTTP_204_NO_CONTENT)


class ResultList(generics.ListAPIView[Result]):
    """Summaries, outputs and files that stay; `q` looks for words and meaning, the best first, in one page."""

    serializer_class = ResultSerializer
    queryset = Result.objects.all()

    @extend_schema(parameters=[Words, WhoseFilter])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        q = asked(Words, request).get("q", "")
        if not q:
            return super().get(request, *args, **kwargs)
        pages: Any = self.paginator
        pages.check(request)
        found = [hit.result for hit in search_results(q, results=self.get_queryset(), limit=pages.page_size)]
        told = ResultSerializer(found, many=True, context=self.get_serializer_context()).data
        return Response({"results": told, "next": None, "count": len(found)})

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "user": self.request.user}

    def get_queryset(self) -> QuerySet[Result]:
        asked = validated(WhoseFilter(data=self.request.query_params))
        return Result.objects.of(self.request.user, asked.get("owner", "")).defer("embedding")


class ResultDetail(APIView):
    @extend_schema(responses=ResultSerializer)
    def get(self, request: Request, pk: Any) -> Response:
        """One result: your own, or one that is shared with a team of yours."""
        return self.told(own(Result.objects.visible_to(request.user), pk=pk))

    @extend_schema(request=SharedSerializer, responses=ResultSerializer)
    def patch(self, request: Request, pk: Any) -> Response:
        """Share it with a team of yours, or with nobody any more."""
        result = own(Result.objects.visible_to(request.user), pk=pk)
        fields = validated(SharedSerializer(data=request.data))
        shared(result, team_told(fields, caller(request)), caller(request))
        return self.told(result)

    def told(self, result: Result) -> Response:
        return Response(ResultSerializer(result, context={"user": self.request.user}).data)


class ResultFile(APIView):
    @extend_schema(responses={(200, "application/octet-stream"): OpenApiResponse(OpenApiTypes.BINARY)})
    def get(self, request: Request, pk: Any) -> StreamingHttpResponse:
        """The file itself, to be saved: a browser never shows it as a page of ours."""
        result = own(Result.objects.visible_to(request.user).exclude(file=None).exclude(file=""), pk=pk)
        try:
            opened = files.opened(result)
        except FileNotFoundError as error:
            raise NotFound("The file is not in the storage any more.") from error
        except files.StorageDown as error:
            raise StorageAway from error
        response = StreamingHttpResponse(chunks(opened), content_type=result.mime_type)
        response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(result.title)}"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
        response.headers["Content-Length"] = str(result.size_bytes)
        return response


class StorageAway(APIException):
    status_code = 503
    default_code = "storage_down"
    default_detail = "The file storage does not answer; try again in a moment."


async def chunks(opened: IO[bytes]) -> AsyncIterator[bytes]:
    """Read in a thread, piece by piece: neither the event loop nor the memory has to hold the whole file."""
    try:
        while chunk := await sync_to_async(opened.read)(CHUNK_BYTES):
            yield chunk
    finally:
        await sync_to_async(opened.close)()
