# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's own discovery documents as router and validator.

They ship inside the google-api-python-client wheel. A request finds its method id here, its parameters get their types
here, and both its body and the answer are checked against the schema that Google publishes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from rehearsal.errors import ApiError

DOCUMENTS = (
    "artifactregistry.v1",
    "compute.v1",
    "storage.v1",
    "cloudfunctions.v2",
    "run.v1",
    "run.v2",
    "iam.v1",
    "iamcredentials.v1",
    "serviceusage.v1",
    "cloudresourcemanager.v1",
    "cloudresourcemanager.v3",
    "cloudbilling.v1",
    "cloudbuild.v1",
    "logging.v2",
    "orgpolicy.v2",
    "oslogin.v1",
    "secretmanager.v1",
    "oauth2.v2",
)
# These services also answer on the host that all of Google's older APIs share.
SHARED_HOST = "www.googleapis.com"
ON_SHARED_HOST = ("compute", "storage", "oauth2")
UNIVERSAL_PARAMETERS = {
    "alt",
    "$alt",
    "fields",
    "key",
    "prettyPrint",
    "quotaUser",
    "userIp",
    "$.xgafv",
    "access_token",
    "callback",
}

Schema = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """One method of one API: `id` as in `compute.instances.insert`, and how to recognise and check it."""

    id: str
    service: str
    verb: str
    pattern: re.Pattern[str]
    template: str
    parameters: dict[str, Schema]
    request_schema: str | None
    response_schema: str | None
    scopes: tuple[str, ...]
    document: Document

    @property
    def literal(self) -> int:
        """How many characters of the template are fixed."""
        return len(re.sub(r"\{[^}]*\}", "", self.template))

    @property
    def one_platform(self) -> bool:
        """Whether the API writes google.rpc errors instead of the older form with an `errors` array."""
        return self.service not in ("compute", "storage", "oauth2")


class Document:
    """One discovery document: its methods, and a validator for its schemas."""

    def __init__(self, name: str) -> None:
        package = resources.files("googleapiclient.discovery_cache.documents")
        raw = json.loads(package.joinpath(f"{name}.json").read_text(encoding="utf-8"))
        self.service = name.split(".")[0]
        self.schemas: dict[str, Schema] = raw.get("schemas", {})
        self.host = urlsplit(raw["rootUrl"]).hostname or ""
        self.methods = [self._method(spec, raw["servicePath"]) for spec in _methods(raw)]
        for spec in _methods(raw):
            self.methods += self._uploads(spec)

    def _method(self, spec: Schema, prefix: str, path: str | None = None) -> Method:
        template = "/" + prefix + spec["path"] if path is None else path
        parameters = spec.get("parameters", {})
        return Method(
            id=spec["id"],
            service=self.service,
            verb=spec["httpMethod"],
            pattern=_template_pattern(template, parameters),
            template=template,
            parameters=parameters,
            request_schema=spec.get("request", {}).get("$ref") if path is None else None,
            response_schema=spec.get("response", {}).get("$ref"),
            scopes=tuple(spec.get("scopes", ())),
            document=self,
        )

    def _uploads(self, spec: Schema) -> list[Method]:
        protocols = spec.get("mediaUpload", {}).get("protocols", {})
        return [self._method(spec, "", protocol["path"]) for protocol in protocols.values()]

    def violations(self, schema_name: str | None, value: Any, *, request: bool) -> list[str]:
        """Return what in `value` is not as the schema says, one sentence each; an empty list when all is well."""
        if schema_name is None:
            return []
        return list(self._check({"$ref": schema_name}, value, "", request))

    def _check(self, schema: Schema, value: Any, path: str, request: bool) -> Iterator[str]:
        if "$ref" in schema:
            schema = self.schemas[schema["$ref"]]
        kind = schema.get("type", "any")
        if value is None or kind == "any":
            return
        if kind == "object":
            yield from self._check_object(schema, value, path, request)
        elif kind == "array":
            if not isinstance(value, list):
                yield f"Invalid value at '{path}': expected a list, found {_shown(value)}."
                return
            for index, item in enumerate(value):
                yield from self._check(schema["items"], item, f"{path}[{index}]", request)
        elif not _scalar_fits(kind, schema.get("format", ""), value, request):
            yield f"Invalid value at '{path}' ({schema.get('format') or kind}), {_shown(value)}"
        elif "enum" in schema and value not in schema["enum"]:
            yield f"Invalid value at '{path}' (one of {', '.join(schema['enum'][:12])}), {_shown(value)}"

    def _check_object(self, schema: Schema, value: Any, path: str, request: bool) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"Invalid value at '{path}': expected an object, found {_shown(value)}."
            return
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        for name, member in value.items():
            if name in properties:
                yield from self._check(properties[name], member, f"{path}.{name}".lstrip("."), request)
            elif extra is not None:
                if name != "@type":
                    yield from self._check(extra, member, f"{path}.{name}".lstrip("."), request)
            else:
                where = f" at '{path}'" if path else ""
                yield f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.'


def _methods(node: Schema) -> Iterator[Schema]:
    yield from node.get("methods", {}).values()
    for child in node.get("resources", {}).values():
        yield from _methods(child)


def _template_pattern(template: str, parameters: dict[str, Schema]) -> re.Pattern[str]:
    """Turn `v2/{+name}:verb` into a regular expression with one group a parameter, over the undecoded path."""

    def group(match: re.Match[str]) -> str:
        reserved, name = match.group(1), match.group(2)
        inner = "[^/]+"
        if reserved:  # a whole resource name: its own pattern says which segments it has
            inner = parameters[name].get("pattern", "^.+$").removeprefix("^").removesuffix("$")
        return f"(?P<{name}>{inner})"

    pieces = re.split(r"(\{\+?\w+\})", template)
    expression = "".join(
        re.sub(r"\{(\+?)(\w+)\}", group, piece) if piece.startswith("{") else re.escape(piece) for piece in pieces
    )
    return re.compile(expression)


def _scalar_fits(kind: str, form: str, value: Any, request: bool) -> bool:
    if kind == "string":
        if form in ("int64", "uint64"):
            # Google writes 64-bit integers as strings and reads them either way.
            if isinstance(value, bool):
                return False
            return (request and isinstance(value, int)) or (
                isinstance(value, str) and re.fullmatch(r"-?\d+", value) is not None
            )
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        if request and isinstance(value, str):
            return re.fullmatch(r"-?\d+", value) is not None
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return json.dumps(value)[:80]


class Router:
    """Finds the method of a request among all documents."""

    def __init__(self, names: tuple[str, ...] = DOCUMENTS) -> None:
        self.documents = [Document(name) for name in names]
        self._by_host: dict[tuple[str, str], list[Method]] = {}
        for document in self.documents:
            hosts = [document.host] + ([SHARED_HOST] if document.service in ON_SHARED_HOST else [])
            for host in dict.fromkeys(hosts):
                for known in document.methods:
                    self._by_host.setdefault((host, known.verb), []).append(known)
        for methods in self._by_host.values():
            # The most literal template first: `…/{name}:getIamPolicy` before `…/{name}`.
            methods.sort(key=lambda known: -known.literal)

    def find(self, host: str, verb: str, raw_path: str) -> tuple[Method, dict[str, str]] | None:
        """Return the method and its path parameters, decoded; None when Google has no such method."""
        for known in self._by_host.get((host, verb), ()):
            found = known.pattern.fullmatch(raw_path)
            if found:
                return known, {name: unquote(value) for name, value in found.groupdict().items()}
        return None


def query_parameters(method: Method, query: str) -> dict[str, Any]:
    """Return the query parameters with the types that the method declares.

    Raises ApiError 400 for a value that is not of its type ("None" for a boolean, say). Parameters that the method does
    not declare are ignored, as Google's older APIs do.
    """
    typed: dict[str, Any] = {}
    for name, values in parse_qs(query, keep_blank_values=True).items():
        schema = method.parameters.get(name)
        if schema is None:
            if name not in UNIVERSAL_PARAMETERS:
                typed.setdefault("_other", {})[name] = values[-1]
            continue
        converted = [_convert(name, value, schema) for value in values]
        typed[name] = converted if schema.get("repeated") else converted[-1]
    return typed


def _convert(name: str, value: str, schema: Schema) -> Any:
    kind = schema.get("type")
    if kind == "boolean":
        if value.lower() in ("true", "false"):
            return value.lower() == "true"
    elif kind == "integer":
        if re.fullmatch(r"-?\d+", value):
            return int(value)
    elif "enum" in schema and value not in schema["enum"] and value != "":
        pass
    else:
        return value
    raise ApiError(400, "invalid", f"Invalid value '{value}' for parameter '{name}'.", location=name)
