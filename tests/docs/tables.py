"""The closed tables of the language as they stand in its reference."""

from __future__ import annotations

from specdsl.language.schemas import Option, Schema, Table


def rows(table: Table) -> str:
    """One line for each word: how it is called, and what it is."""
    return "\n".join(_row(schema, table) for schema in table.schemas.values())


def settings(block: Schema) -> str:
    """One line for each setting of a block: how it is written, and what it is."""
    return "\n".join(f"| `{_option(o)}` | {o.doc} |" for o in block.options)


def _row(schema: Schema, table: Table) -> str:
    rest = [f"{schema.rest.name} ..."] if schema.rest is not None else []
    options = ", ".join([*rest, *(_option(o) for o in schema.options)])
    call = f"{schema.name}({options})" if options else schema.name
    later = " (checked, not run yet)" if schema.name in table.to_come else ""
    return f"| `{call}` | {schema.doc}{later} |".replace("|x|", "\\|x\\|")


def _option(option: Option) -> str:
    default = option.default
    return option.name if default is None else f"{option.name} = {default}"
