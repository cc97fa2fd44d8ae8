"""An example for every body of the published schema, put together from those that the schemas themselves name."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

# What stands where a schema names no example.
BY_FORMAT = {"date-time": "2025-01-01T00:01:00+00:00", "binary": "name,phone\nAda Lovelace,+442079460000\n"}
BY_TYPE: Json = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None}


def example_of(schema: Json, components: Json) -> Any:
    """Return an example that a JSON schema allows; `components` are the document's schemas by name."""
    if reference := schema.get("$ref"):
        return example_of(components[reference.rpartition("/")[2]], components)
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    for key in ("example", "const", "default"):
        if key in schema:
            return schema[key]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return example_of(schema[key][0], components)
    return _of_type(schema, components)


def _of_type(schema: Json, components: Json) -> Any:
    kind = schema.get("type")
    if kind == "array":
        parts = schema.get("prefixItems") or [schema["items"]] if "items" in schema else schema["prefixItems"]
        return [example_of(part, components) for part in parts]
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: example_of(each, components) for name, each in properties.items()}
    return BY_FORMAT.get(schema.get("format", ""), BY_TYPE.get(str(kind)))
