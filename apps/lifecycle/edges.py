"""One table of edges per machine: the model declares transitions from it, the database holds it."""

from dataclasses import dataclass

import pgtrigger


@dataclass(frozen=True, slots=True)
class Edge:
    """A permitted change of status: the action's name, where it may start, where it leads."""

    action: str
    sources: tuple[str, ...]
    target: str


def status_triggers(
    *, name: str, initial: str, edges: tuple[Edge, ...], field: str = "status"
) -> list[pgtrigger.Trigger]:
    """
    Hold a machine in the database: rows are born in `initial` and move along `edges` only.

    This refuses what the FSM package accepts: `queryset.update(status=...)` and `Model(status=...).save()`.
    """
    pairs = sorted({(source, edge.target) for edge in edges for source in edge.sources})
    allowed = " OR ".join(f"(OLD.{field} = '{source}' AND NEW.{field} = '{target}')" for source, target in pairs)
    return [
        pgtrigger.Trigger(
            name=name,
            when=pgtrigger.Before,
            operation=pgtrigger.Insert | pgtrigger.UpdateOf(field),
            func=f"""
                IF TG_OP = 'INSERT' THEN
                    IF NEW.{field} <> '{initial}' THEN
                        RAISE EXCEPTION 'A row of % begins as {initial}, not as %', TG_TABLE_NAME, NEW.{field}
                            USING ERRCODE = 'check_violation', CONSTRAINT = '{name}';
                    END IF;
                ELSIF NEW.{field} IS DISTINCT FROM OLD.{field} AND NOT ({allowed}) THEN
                    RAISE EXCEPTION 'A row of % may not go from % to %', TG_TABLE_NAME, OLD.{field}, NEW.{field}
                        USING ERRCODE = 'check_violation', CONSTRAINT = '{name}';
                END IF;
                RETURN NEW;
            """,
        )
    ]
