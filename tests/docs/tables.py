"""The closed tables of the language as they stand in its reference."""

from __future__ import annotations

from specdsl.language.schemas import Option, Schema, Table


def rows(table: Table) -> str:
    """One line for each word: how it is called, and what it is."""
    return "\n".join(_row(schema, table) for schema in table.schemas.values())


def _row(schema: Schema, table: Table) -> str:
    options = ", ".join(_option(o) for o in schema.options)
    call = f"{schema.name}({options})" if options else schema.name
    later = " (checked, not run yet)" if schema.name in table.to_come else ""
    return f"| `{call}` | {schema.doc}{later} |".replace("|x|", "\\|x\\|")


def _option(option: Option) -> str:
    default = option.default
    return option.name if default is None else f"{option.name} = {default}"
