"""Triggers the database enforces for us, declared in the models they protect and shipped by their migrations.

Each refusal is raised as a check violation under the trigger's own name, so that tests, logs and error reports name
the rule and not a line of PL/pgSQL. None of them is deferred: a deferred one would run at commit, when the search path
may already be another tenant's.
"""

from collections.abc import Iterable

import pgtrigger

_REFUSE = """
    RAISE EXCEPTION '{message} (table %, row %)', TG_TABLE_NAME, {row}
        USING ERRCODE = 'check_violation', CONSTRAINT = '{name}';
"""


def _refuse(*, name: str, message: str, row: str = "OLD.id") -> str:
    return _REFUSE.format(name=name, message=message, row=row)


def append_only(*, name: str) -> list[pgtrigger.Trigger]:
    """Refuse to change, delete or truncate rows of a table that only grows."""
    return [
        pgtrigger.Trigger(
            name=name,
            when=pgtrigger.Before,
            operation=pgtrigger.Update | pgtrigger.Delete,
            func=_refuse(name=name, message="This table only grows: correct by adding"),
        ),
        no_truncate(name=f"{name}_truncate"),
    ]


def undeletable(*, name: str) -> list[pgtrigger.Trigger]:
    """Refuse to delete or truncate rows."""
    return [
        pgtrigger.Trigger(
            name=name,
            when=pgtrigger.Before,
            operation=pgtrigger.Delete,
            func=_refuse(name=name, message="Rows of this table are kept"),
        ),
        no_truncate(name=f"{name}_truncate"),
    ]


def no_truncate(*, name: str) -> pgtrigger.Trigger:
    """Refuse TRUNCATE, which row triggers do not see."""
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        level=pgtrigger.Statement,
        func=_refuse(name=name, message="This table is never emptied", row="'all'"),
    )


def sealed_once(*, name: str, sealed: Iterable[str]) -> list[pgtrigger.Trigger]:
    """Append-only, except that the sealer may fill the sealed columns of a row one single time."""
    columns = _text_array(sealed)
    changed = f"(to_jsonb(NEW) - {columns}) IS DISTINCT FROM (to_jsonb(OLD) - {columns})"
    return [
        pgtrigger.Trigger(
            name=name,
            when=pgtrigger.Before,
            operation=pgtrigger.Update,
            func=f"""
                IF OLD.position IS NOT NULL OR NEW.position IS NULL OR {changed} THEN
                    {_refuse(name=name, message="Only the sealer may write here, once")}
                END IF;
                RETURN NEW;
            """,
        ),
        *undeletable(name=f"{name}_kept"),
    ]


def fixed_columns(*, name: str, columns: Iterable[str]) -> list[pgtrigger.Trigger]:
    """Refuse to change what a row was made with; its other columns may change."""
    fixed = tuple(columns)
    old, new = (", ".join(f'{side}."{column}"' for column in fixed) for side in ("OLD", "NEW"))
    return [
        pgtrigger.Trigger(
            name=name,
            when=pgtrigger.Before,
            operation=pgtrigger.Update,
            func=f"""
                IF ROW({new}) IS DISTINCT FROM ROW({old}) THEN
                    {_refuse(name=name, message=f"Fixed from the first: {', '.join(fixed)}")}
                END IF;
                RETURN NEW;
            """,
        ),
    ]


def forward_only(*, name: str, column: str) -> list[pgtrigger.Trigger]:
    """Refuse to lower a column that only rises, such as a clock's time."""
    return [
        pgtrigger.Trigger(
            name=name,
            when=pgtrigger.Before,
            operation=pgtrigger.Update,
            func=f"""
                IF NEW."{column}" < OLD."{column}" THEN
                    {_refuse(name=name, message=f"Forward only: {column}")}
                END IF;
                RETURN NEW;
            """,
        ),
    ]


def frozen_when(*, name: str, condition: str, mutable: Iterable[str]) -> list[pgtrigger.Trigger]:
    """
    Freeze a document: while `condition` (SQL over OLD) holds, only the `mutable` columns may change, nothing may go.

    A whole-row comparison instead of a column list, so that a column added later is frozen unless it is exempted.
    """
    columns = _text_array(mutable)
    return [
        pgtrigger.Trigger(
            name=name,
            when=pgtrigger.Before,
            operation=pgtrigger.Update | pgtrigger.Delete,
            func=f"""
                IF {condition} THEN
                    IF TG_OP = 'DELETE' THEN
                        {_refuse(name=name, message="An issued document is kept")}
                    ELSIF (to_jsonb(NEW) - {columns}) IS DISTINCT FROM (to_jsonb(OLD) - {columns}) THEN
                        {_refuse(name=name, message="An issued document is frozen: correct it by a further one")}
                    END IF;
                END IF;
                IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
                RETURN NEW;
            """,
        ),
        no_truncate(name=f"{name}_truncate"),
    ]


def part_open_while(*, name: str, parent_table: str, parent_column: str, condition: str) -> list[pgtrigger.Trigger]:
    """
    Let the rows of a document (its lines) be written only while `condition`, SQL over the alias `parent`, holds.

    A parent that is not there yet is left to the foreign key.
    """
    refuse = _refuse(name=name, message="The document these rows belong to is issued", row="parent_id")
    return [
        pgtrigger.Trigger(
            name=name,
            when=pgtrigger.Before,
            operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
            declare=[("parent_id", "uuid"), ("is_open", "boolean")],
            func=f"""
                parent_id := CASE WHEN TG_OP = 'INSERT' THEN NEW.{parent_column} ELSE OLD.{parent_column} END;
                SELECT {condition} INTO is_open FROM {parent_table} parent WHERE parent.id = parent_id;
                IF NOT coalesce(is_open, true) THEN
                    {refuse}
                END IF;
                IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
                RETURN NEW;
            """,
        ),
        no_truncate(name=f"{name}_truncate"),
    ]


def _text_array(columns: Iterable[str]) -> str:
    return "ARRAY[" + ", ".join(f"'{column}'" for column in columns) + "]::text[]"
