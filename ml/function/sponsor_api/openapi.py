# SPDX-License-Identifier: GPL-3.0-or-later
"""The API as an OpenAPI 3.1 document, made from the same schema that requests are checked against."""

from __future__ import annotations

from typing import Any

from ml.core.schema import Field, Schema

Document = dict[str, Any]
_TYPES = {int: "integer", float: "number", str: "string"}


def describe(schema: Schema, max_rows: int, max_body_bytes: int) -> Document:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sponsor recommendation",
            "version": "1.0.0",
            "summary": "Which sponsor the screens of a stadium should show, given what happens in the match",
            "description": f"Bodies of at most {max_body_bytes} bytes, batches of at most {max_rows} contexts.",
            "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
        },
        "servers": [{"url": "./", "description": "Where this document was read"}],
        "paths": {
            "/": {"get": _home(), "post": _predict(schema)},
            "/healthz": {"get": _health("getHealthz")},
            "/health": {"get": _health("getHealth")},
            "/model": {
                "get": _read("getModel", "The manifest of the release that serves", "Manifest", may_lack_model=True)
            },
            "/schema": {
                "get": _read(
                    "getSchema", "The fields, their values and the sponsors", "Description", may_lack_model=True
                )
            },
            "/openapi.json": {"get": _read("getOpenapi", "This document", "Document")},
        },
        "components": {"schemas": _schemas(schema, max_rows), "headers": _headers()},
    }


def _predict(schema: Schema) -> Document:
    parameters = [
        {
            "name": name, "in": "query", "required": False, "description": description,
            "schema": {"type": "string", "enum": ["true", "false"]},
        }
        for name, description in (
            ("probabilities", "Add the probability of every sponsor"),
            ("strict", "Refuse members that the schema does not know, instead of ignoring and naming them"),
        )
    ]  # fmt: skip
    least = {field.name: field.example for field in schema.required}
    body = {"anyOf": [_ref("Context"), _ref("Batch")]}
    return {
        "operationId": "recommend",
        "summary": "Recommend a sponsor for one match context, or for each of a batch",
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": body,
                    "examples": {
                        "one": {"value": schema.example},
                        "batch": {"value": {"instances": [least, {**least, **schema.short_example}]}},
                    },
                }
            },
        },
        "responses": {
            "200": {
                "description": "The recommendation",
                "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in _headers()},
                "content": {"application/json": {"schema": {"anyOf": [_ref("Prediction"), _ref("Predictions")]}}},
            },
            "400": _problem(
                "The body is no JSON, no valid context or too large a batch; every wrong field is named",
                "InvalidContext",
            ),
            "408": _problem("The body did not arrive in time"),
            "413": _problem("The body is too large"),
            "415": _problem("The body is not application/json, or it is encoded"),
            **_failures(),
        },
    }


def _home() -> Document:
    found = _read("getState", "The state of the service; a page for people if HTML is accepted", "State")
    found["responses"]["200"]["content"]["text/html"] = {"schema": {"type": "string"}}
    return found


def _health(operation: str) -> Document:
    found = _read(
        operation,
        "Which release serves, its age, the last check, the staleness, and whether scheduled runs come",
        "State",
    )
    found["parameters"] = [
        {
            "name": "strict", "in": "query", "required": False, "schema": {"type": "string", "enum": ["true", "false"]},
            "description": "Answer 503 when scheduled runs do not come, for a monitor",
        }
    ]  # fmt: skip
    found["responses"]["400"] = _problem("The query is wrong")
    found["responses"]["503"] = {
        "description": "There is no release to serve yet; or scheduled runs do not come, and it was asked strictly",
        "content": {"application/json": {"schema": _ref("State")}},
    }
    return found


def _read(operation: str, summary: str, schema: str, *, may_lack_model: bool = False) -> Document:
    answer = {"description": summary, "content": {"application/json": {"schema": _ref(schema)}}}
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {"200": answer, **(_failures() if may_lack_model else {})},
    }


def _failures() -> Document:
    return {"503": _problem("There is no release to serve yet; try again after Retry-After seconds")}


def _problem(description: str, schema: str = "Problem") -> Document:
    return {"description": description, "content": {"application/problem+json": {"schema": _ref(schema)}}}


def _ref(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}


def _headers() -> Document:
    return {
        "X-Model-Version": {
            "description": "Version of the release that answered",
            "schema": {"type": "string", "pattern": "^[0-9]+$"},
        },
        "X-Model-Manifest": {
            "description": "SHA-256 of its manifest",
            "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        },
    }


def _field(field: Field, *, complete: bool) -> Document:
    """The schema of a member as it is sent, or (``complete``) as it is answered, where nothing is null."""
    schema: Document = {"description": field.description}
    schema["type"] = _TYPES[field.kind] if complete or field.default is None else [_TYPES[field.kind], "null"]
    if field.kind is str:
        schema["enum"] = [*field.values] if complete or field.default is None else [*field.values, None]
    else:
        schema |= {"minimum": field.minimum, "maximum": field.maximum}
    if field.default is not None and not complete:
        schema["default"] = field.default
    return schema


def _object(properties: Document, required: list[str] | None = None, *, closed: bool = False) -> Document:
    found: Document = {"type": "object", "properties": properties}
    found["required"] = list(properties) if required is None else required
    return found | ({"additionalProperties": False} if closed else {})


def _without(schema: Document, names: list[str]) -> Document:
    """Return the schema of objects that have none of these members."""
    return {**schema, "not": {"anyOf": [{"required": [name]} for name in names]}}


def _array(items: Document, least: int, most: int) -> Document:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _schemas(schema: Schema, max_rows: int) -> Document:
    text, share = {"type": "string"}, {"type": "number", "minimum": 0, "maximum": 1}
    optional = {"type": ["string", "null"]}
    answer = {
        "recommended_sponsor": {"type": "string", "examples": list(schema.catalogue)},
        "confidence": share,
        "campaign_message": text,
        "category": text,
        "context_used": _ref("CompleteContext"),
    }
    detailed = {"probabilities": {"type": "object", "additionalProperties": share}}
    row = _object({**answer, **detailed}, list(answer))
    release = _object({"version": {"type": "integer", "minimum": 1}, "manifest": {"type": "string"}})
    told = {name: {"type": "array", "items": text} for name in ("ignored", "hints")}  # only where something was ignored
    one = _object({**answer, **detailed, **told, "release": release}, [*answer, "release"])
    many = {"predictions": _array(row, 1, max_rows), "release": release}
    problem = {
        "type": text, "title": text, "detail": text, "status": {"type": "integer", "minimum": 400, "maximum": 599},
    }  # fmt: skip
    wrong = _object({"field": text, "detail": text, "allowed": text, "sent": optional})
    state = {
        "status": text,
        "reason": optional,
        "release": {"type": ["object", "null"]},
        "last_check": {"type": "string", "format": "date-time"},
        "staleness_seconds": {"type": ["number", "null"]},
        "refresh_seconds": {"type": "number"},
    }
    schedule = {"max_age_seconds": {"type": "integer"}, "up_to_date_as_of": optional, "overdue": {"type": "boolean"}}
    sent = {field.name: _field(field, complete=False) for field in schema.fields}
    used = {field.name: _field(field, complete=True) for field in schema.fields}
    return {
        "Context": _without(_object(sent, [field.name for field in schema.required]), ["instances"]),
        "CompleteContext": _object(used, closed=True),
        "Batch": _without(_object({"instances": _array(_ref("Context"), 1, max_rows)}), list(sent)),
        "Prediction": one,
        "Predictions": _object({**many, **told}, list(many)),
        "Description": _object({name: {"type": "array"} for name in ("fields", "sponsors", "categories")}),
        "State": _object({**state, "schedule": {"anyOf": [_object(schedule), {"type": "null"}]}}, list(state)),
        "Manifest": _object({"manifest_sha256": text, "promotion": {"type": "object"}, "manifest": {"type": "object"}}),
        "Document": _object({"openapi": text, "info": {"type": "object"}, "paths": {"type": "object"}}),
        "Problem": _object(problem),
        "InvalidContext": _object({**problem, "errors": {"type": "array", "items": wrong}}, list(problem)),
    }
