"""Templates as files, over the API."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chains.api import answered, own
from chains.models import Template
from chains.serializers import PlanField, ProblemSerializer, TemplateSerializer
from chains.template_files import FORMAT, MAX_SERVERS, exported, import_template
from registry.api import caller
from registry.inputs import Input, Text, validated


class NeededServer(Input):
    slug = Text(max_length=100)
    name = Text(required=False, allow_blank=True, max_length=500)
    url = Text(required=False, allow_blank=True, max_length=2000)
    package = Text(required=False, allow_blank=True, max_length=500)
    tools = serializers.ListField(child=Text(max_length=512), required=False)


class TemplateFile(Input):
    format = serializers.ChoiceField([FORMAT])
    name = Text(max_length=200)
    description = Text(required=False, allow_blank=True, max_length=10_000)
    plan = PlanField()
    servers = NeededServer(many=True, required=False, max_length=MAX_SERVERS)  # type: ignore[call-arg]


class ImportedSerializer(TemplateSerializer):
    """The template, and what is missing here before it can run."""

    missing = ProblemSerializer(many=True)

    class Meta(TemplateSerializer.Meta):
        fields = [*TemplateSerializer.Meta.fields, "missing"]
        read_only_fields = fields


class TemplateExport(APIView):
    @extend_schema(responses=TemplateFile)
    def get(self, request: Request, pk: Any) -> Response:
        """A template as a file to keep or to pass on: its plan and the servers it needs, nothing secret."""
        template = own(Template.objects.visible_to(request.user), pk=pk)
        response = Response(answered(exported, template=template, user=caller(request)))
        response["Content-Disposition"] = f'attachment; filename="template-{template.pk}.json"'
        return response


class TemplateImport(APIView):
    @extend_schema(request=TemplateFile, responses={201: ImportedSerializer})
    def post(self, request: Request) -> Response:
        """Keep a template from its file. What it needs and is not here is named under `missing`."""
        file = validated(TemplateFile(data=request.data))
        imported = answered(import_template, user=caller(request), file=file)
        missing = [problem.as_json() for problem in imported.missing]
        return Response(
            {**TemplateSerializer(imported.template).data, "missing": missing}, status=status.HTTP_201_CREATED
        )
