"""Compares what Outpost's newest client reads and sends with the description of our API.

The client's models say which members an answer may have, which it must have, and of which types. A difference is a member,
a parameter or a word that it has and openapi.json does not, or one that it would refuse as we describe it. Run alone, it
lists them: python compare.py http://localhost:3000/openapi.json
"""

import datetime
import enum
import inspect
import json
import re
import sys
import typing
import urllib.request

import outpost_sdk.models as models
from outpost_sdk.types import UnrecognizedStr
from outpost_sdk.types.basemodel import Unset
from pydantic import BaseModel
from typing_extensions import TypeAliasType

ANSWERS = {  # by operation: the model that its answer is read as
    "putTenant": "Tenant",
    "getTenant": "Tenant",
    "listTenants": "TenantPaginatedResult",
    "deleteTenant": "SuccessResponse",
    "getTenantToken": "TenantToken",
    "getPortalLink": "PortalRedirect",
    "listDestinationTypes": ["DestinationTypeSchema"],
    "getDestinationType": "DestinationTypeSchema",
    "publishEvent": "PublishResponse",
    "listEvents": "EventPaginatedResult",
    "getEvent": "Event",
    "listAttempts": "AttemptPaginatedResult",
    "getAttempt": "Attempt",
    "retryDelivery": "SuccessResponse",
    "deleteDestination": "SuccessResponse",
    "measureEvents": "MetricsResponse",
    "measureAttempts": "MetricsResponse",
}
PARAMETERS = {
    "listTenants": "ListTenantsRequest",
    "listEvents": "ListEventsRequest",
    "getEvent": "GetEventRequest",
    "listAttempts": "ListAttemptsRequest",
    "getAttempt": "GetAttemptRequest",
    "listDestinations": "ListTenantDestinationsRequest",
    "listDestinationAttempts": "ListTenantDestinationAttemptsRequest",
    "getDestinationAttempt": "GetTenantDestinationAttemptRequest",
    "getPortalLink": "GetTenantPortalURLRequest",
    "measureEvents": "GetEventMetricsRequest",
    "measureAttempts": "GetAttemptMetricsRequest",
}
BODIES = {"publishEvent": "PublishRequest", "putTenant": "TenantUpsert", "retryDelivery": "RetryRequest"}

SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", datetime.datetime: "string"}


def is_model(t):
    return inspect.isclass(t) and issubclass(t, BaseModel) and t is not Unset


def unfold(t):
    """The types that a type stands for; None among them when it may be null."""
    if isinstance(t, TypeAliasType):
        return unfold(t.__value__)
    origin, args = typing.get_origin(t), typing.get_args(t)
    if isinstance(origin, TypeAliasType):  # Nullable[T] and OptionalNullable[T]
        return unfold(args[0]) | {type(None)}
    if origin is typing.Annotated:
        return unfold(args[0])
    if origin is typing.Union or str(origin) == "<class 'types.UnionType'>":
        return set().union(*(unfold(a) for a in args))
    return {t}


class Description:
    """openapi.json, with its references followed."""

    def __init__(self, doc):
        self.doc = doc
        self.operations = {op["operationId"]: op for path in doc["paths"].values() for op in path.values() if isinstance(op, dict) and "operationId" in op}

    def variants(self, schema):
        """The schemas that one stands for, after references and alternatives."""
        if "$ref" in schema:
            target = self.doc
            for part in schema["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            return self.variants(target)
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return [v for s in schema[key] for v in self.variants(s)]
        if "allOf" in schema:
            whole = {"properties": {}, "required": [], "type": "object"}
            for part in [schema | {"allOf": None}] + schema["allOf"]:
                for v in self.variants({k: x for k, x in part.items() if x is not None}) if part.get("$ref") or part.get("properties") else []:
                    whole["properties"] |= v.get("properties", {})
                    whole["required"] += v.get("required", [])
            return [whole]
        return [schema]

    def answer(self, operation):
        responses = self.operations[operation]["responses"]
        best = next(responses[s] for s in ("202", "200", "201") if s in responses)
        return best["content"]["application/json"]["schema"]

    def parameters(self, operation):
        return {p["name"]: p for p in self.operations[operation].get("parameters", []) if p.get("in") == "query"}

    def body(self, operation):
        return self.operations[operation]["requestBody"]["content"]["application/json"]["schema"]


def kinds(schema):
    kind = schema.get("type")
    return set(kind) if isinstance(kind, list) else {kind} if kind else set()


def compare_answer(d, t, schema, where, out):
    """Notes what a value that fits our schema has that the client does not read as t, and what it lacks."""
    accepted = unfold(t)
    if typing.Any in accepted:
        return
    theirs = [a for a in accepted if a not in (type(None), Unset)]
    for ours in d.variants(schema):
        have = kinds(ours)
        if "null" in have and type(None) not in accepted:
            out.append(f"{where}: may be null, which the client refuses")
        objects = [a for a in theirs if is_model(a)]
        if objects:
            if have and "object" not in have:
                out.append(f"{where}: is {'/'.join(sorted(have))}, not an object")
            for a in objects:
                compare_members(d, a, ours, where, out)
            continue
        for a in theirs:
            origin, args = typing.get_origin(a), typing.get_args(a)
            if origin is list and "items" in ours:
                compare_answer(d, args[0], ours["items"], where + "[]", out)
            elif origin is dict and have - {"null"} - {"object"}:
                out.append(f"{where}: may be {'/'.join(sorted(have - {'null', 'object'}))}, the client reads objects only")
        words = [w.value for a in theirs if inspect.isclass(a) and issubclass(a, enum.Enum) for w in a]
        if words and UnrecognizedStr not in theirs:
            beyond = [w for w in ours.get("enum", []) if w not in words and w is not None]
            if beyond:
                out.append(f"{where}: may be {', '.join(map(str, beyond))}, which the client refuses")
        plain = {SCALARS[a] for a in theirs if a in SCALARS}
        if plain and len(theirs) == len([a for a in theirs if a in SCALARS]):
            wrong = have - {"null"} - plain - ({"integer"} if "number" in plain else set())
            if wrong:
                out.append(f"{where}: may be {'/'.join(sorted(wrong))}, the client reads {'/'.join(sorted(plain))}")


def compare_members(d, model, schema, where, out):
    properties = schema.get("properties")
    if properties is None:
        if not schema.get("additionalProperties"):
            out.append(f"{where}: has no members")
        return
    for name, f in model.model_fields.items():
        name = f.alias or name
        at = f"{where}.{name}" if where else name
        if name not in properties:
            out.append(f"{at}: is missing")
            continue
        if f.is_required() and name not in schema.get("required", []):
            out.append(f"{at}: may be absent, the client demands it")
        compare_answer(d, f.annotation, properties[name], at, out)


def parameter_names(model):
    for name, f in model.model_fields.items():
        query = [m for m in f.metadata if getattr(m, "query", None)]
        if not query:
            continue
        inner = [a for a in unfold(f.annotation) if is_model(a)]
        if inner:
            for sub, g in inner[0].model_fields.items():
                yield f"{f.alias or name}[{g.alias or sub}]", g
        else:
            yield f.alias or name, f


def words_of(t):
    for a in unfold(t):
        if typing.get_origin(a) is list:
            yield from words_of(typing.get_args(a)[0])
        elif inspect.isclass(a) and issubclass(a, enum.Enum):
            yield from (w.value for w in a)


def schema_words(d, schema):
    found = []
    for v in d.variants(schema):
        found += v.get("enum") or (schema_words(d, v["items"]) if "items" in v else [])
    return found


def differences(doc):
    """Lists the differences, each as a line that begins with where it is."""
    d, out = Description(doc), []
    for operation, name in ANSWERS.items():
        schema = d.answer(operation)
        if isinstance(name, list):
            name, schema = name[0], d.variants(schema)[0]["items"]
        found = []
        for v in d.variants(schema):
            compare_members(d, getattr(models, name), v, "", found)
        out += [f"{operation} {line}" for line in found]
    types = {c: getattr(models, c) for c in dir(models) if re.fullmatch(r"Destination[A-Z]\w+", c)}
    schema = d.variants(d.answer("getDestination"))[0]
    for name, model in sorted(types.items()):
        if not is_model(model) or "config" not in model.model_fields or re.match("Destination(Create|Update)", name):
            continue
        found = []
        compare_members(d, model, {**schema, "properties": {k: v for k, v in schema["properties"].items()}}, "", found)
        # Which types there are, and what is in these halves, is checked with destinations of every type.
        out += [f"getDestination {line}" for line in found if not re.match(r"(type|config|credentials)\b|filter: may be string", line)]
        kind = next(w.value for w in unfold(model.model_fields["type"].annotation).pop())
        for half in ("config", "credentials"):
            inner = next((a for a in unfold(model.model_fields[half].annotation) if is_model(a)), None)
            ours = doc["components"]["schemas"].get("".join(p[:1].upper() + p[1:] for p in kind.split("_")) + half.capitalize())
            if ours is None:
                out.append(f"destination type {kind}: is missing")
                break
            for field, f in (inner.model_fields.items() if inner else []):
                if (f.alias or field) not in ours["properties"]:
                    out.append(f"destination type {kind} {half}.{f.alias or field}: is missing")
    for operation, name in PARAMETERS.items():
        have = d.parameters(operation)
        for parameter, f in parameter_names(getattr(models, name)):
            if parameter not in have:
                out.append(f"{operation} ?{parameter}: is missing")
                continue
            ours = schema_words(d, have[parameter]["schema"])
            lost = sorted({w for w in words_of(f.annotation) if ours and w not in ours})
            if lost:
                out.append(f"{operation} ?{parameter}: does not take {', '.join(lost)}")
    for operation, name in BODIES.items():
        properties = d.variants(d.body(operation))[0]["properties"]
        out += [f"{operation} body {f.alias or n}: is missing" for n, f in getattr(models, name).model_fields.items() if (f.alias or n) not in properties]
    return sorted(set(out))


if __name__ == "__main__":
    with urllib.request.urlopen(sys.argv[1]) as answer:
        print("\n".join(differences(json.load(answer))))
