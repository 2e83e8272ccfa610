"""What every table and every machine of the house has in common, read from the models themselves."""

import re
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.db import models

from apps.common.fields import MinorUnitsField
from apps.lifecycle.edges import status_triggers
from apps.lifecycle.models import LifecycleModel
from tests.contracts import layers

# A machine that is not on this list fails until somebody has said where it may rest for ever.
TERMINAL = {
    "plans.planversion": {"RETIRED"},
    "subscriptions.subscription": {"ENDED"},
    "subscriptions.billingperiod": {"CLOSED"},
    "invoices.invoice": {"PAID", "DISCARDED", "VOID"},
    "invoices.billingrun": {"COMPLETED"},
    "invoices.adjustment": {"REJECTED", "CANCELED"},
    "payments.paymentattempt": {"SUCCEEDED", "FAILED"},
    "notifications.mail": {"SENT"},
    "metering.quarantinedevent": {"REPLAYED", "EDITED", "DISCARDED"},
    "metering.usagecorrection": {"APPLIED", "REJECTED", "CANCELED"},
    "metering.usagealert": {"CLOSED"},
    "metering.lateusage": {"NOTHING_DUE", "WAIVED"},
    "metering.usagearchive": {"ABANDONED"},
}
# Instants whose names read better without the suffix; each with the reason.
INSTANTS_NAMED_OTHERWISE = {
    "audit.auditentry.at": "the word the services use for the moment they act",
    "messaging.domainevent.at": "the word the services use for the moment they act",
    "messaging.outboxmessage.claimed_until": "the end of a lease",
    "subscriptions.billingperiod.claimed_until": "the end of a lease",
    "subscriptions.subscription.anchor_wall": "wall-clock time of the anchor, not an instant",
    "metering.usageaggregate.hour": "the hour whose events are summed",
    "identity.user.last_login": "Django's own field",
    "metering.usagesettings.keys_forgotten_until": "how far the ids of events were forgotten",
}
_MONEY_WORDS = re.compile(r"(^|_)(amount|total|subtotal|price|fee|cost|net|paid|owed|balance|money)(_|$)")


def our_models() -> list[type[models.Model]]:
    """Return every concrete model of an app of ours."""
    return [model for model in apps.get_models() if model.__module__.startswith("apps.")]


def machines() -> list[type[LifecycleModel]]:
    """Return every model with a status machine."""
    return [model for model in our_models() if issubclass(model, LifecycleModel)]


def our_fields() -> Iterator[tuple[str, models.Field]]:
    """Yield (app.model.field, field) for every column."""
    for model in our_models():
        for field in model._meta.local_concrete_fields:
            yield f"{model._meta.label_lower}.{field.name}", field


_each_machine = pytest.mark.parametrize("machine", machines(), ids=lambda model: model._meta.label_lower)


def edge_set(machine: type[LifecycleModel]) -> set[tuple[str, str, str]]:
    """Return the declared edges as (action, source, target)."""
    return {(edge.action, str(source), str(edge.target)) for edge in machine.edges for source in edge.sources}


@_each_machine
def test_transitions_are_the_edges(machine) -> None:
    """The package's transitions and the table of edges, from which the database's trigger is made, say the same."""
    field = machine._meta.get_field("status")
    declared = {
        (transition.name, str(transition.source), str(transition.target))
        for transition in field.get_all_transitions(machine)
    }
    assert declared == edge_set(machine)
    assert field.protected, "the status field is protected against assignment"


@_each_machine
def test_statuses_are_one_vocabulary(machine) -> None:
    """Enum, check constraint, trigger and edges use the same words, all of them."""
    field = machine._meta.get_field("status")
    words = {str(value) for value, _label in field.choices}
    used = {machine.initial_status} | {word for _action, *pair in edge_set(machine) for word in pair}
    assert {str(word) for word in used} == words, "every status is in the machine, or it is not a status"
    assert str(field.default) == str(machine.initial_status)
    checks = [constraint for constraint in machine._meta.constraints if constraint.name.endswith("status_known")]
    assert len(checks) == 1, "one named check holds the vocabulary"
    ((lookup, allowed),) = checks[0].condition.children
    assert (lookup, {str(word) for word in allowed}) == ("status__in", words)


@_each_machine
def test_the_trigger_is_made_from_the_edges(machine) -> None:
    """The database refuses what the machine does not know, `queryset.update` included."""
    found = [trigger for trigger in machine._meta.triggers if trigger.name.endswith("status_edges")]
    assert len(found) == 1
    (expected,) = status_triggers(name=found[0].name, initial=machine.initial_status, edges=machine.edges)
    assert found[0].func == expected.func


@_each_machine
def test_every_status_has_a_way_in_and_a_way_out(machine) -> None:
    """No status is unreachable, and only those listed as final cannot be left."""
    pairs = {(source, target) for _action, source, target in edge_set(machine)}
    words = {str(value) for value, _label in machine._meta.get_field("status").choices}
    reached = {str(machine.initial_status)}
    while fresh := {target for source, target in pairs if source in reached} - reached:
        reached |= fresh
    assert reached == words
    assert words - {source for source, _target in pairs} == final_statuses(machine)


def final_statuses(machine: type[LifecycleModel]) -> set[str]:
    """Return the statuses at which a machine may rest for ever."""
    return TERMINAL[machine._meta.label_lower]


@_each_machine
def test_transitions_take_the_moment(machine) -> None:
    """Each action takes `at` by name and nothing else, stamps in memory and touches no other row."""
    for edge in machine.edges:
        code = getattr(machine, edge.action).__wrapped__.__code__
        assert code.co_argcount == 1, edge.action
        assert code.co_varnames[1 : 1 + code.co_kwonlyargcount] == ("at",), edge.action
        assert not {"objects", "save", "create"} & set(code.co_names), edge.action


@_each_machine
def test_every_status_says_what_it_means(machine) -> None:
    """The label beside each member is its one-line meaning."""
    for value, label in machine._meta.get_field("status").choices:
        assert ": " in str(label), f"{value} has no meaning beside it"


def test_references_follow_the_layers() -> None:
    """A foreign key points to its own app or to a lower one: the arrows of imports hold for tables, too."""
    order = layers.levels()
    wrong = [
        f"{name} -> {field.related_model._meta.label_lower}"
        for name, field in our_fields()
        if field.is_relation
        and field.related_model._meta.app_label in order
        and field.related_model._meta.app_label != field.model._meta.app_label
        and order[field.related_model._meta.app_label] >= order[field.model._meta.app_label]
    ]
    assert not wrong


def test_the_order_knows_every_app() -> None:
    """Every app with tables stands somewhere in the order, and the engine stands below all."""
    order = layers.levels()
    assert {model._meta.app_label for model in our_models()} <= set(order)
    assert order["engine"] == min(order.values()) < order["api"] == max(order.values())


def test_money_is_whole_minor_units() -> None:
    """S250: a column of money is an integer whose name says so, with its currency on the owning row."""
    for name, field in our_fields():
        looks_like_money = bool(_MONEY_WORDS.search(field.name)) and not isinstance(
            field, models.DateTimeField | models.DateField | models.BooleanField | models.ForeignKey
        )
        if looks_like_money or field.name.endswith("_minor") or isinstance(field, MinorUnitsField):
            assert isinstance(field, MinorUnitsField), f"{name} holds money and is {type(field).__name__}"
            assert field.name.endswith("_minor"), f"{name} holds minor units and does not say so"
            assert has_currency(field.model), f"{name} has no currency on its row or its document's"
        assert not isinstance(field, models.FloatField), name


def has_currency(model: type[models.Model]) -> bool:
    """Return whether a row knows its currency: its own column, or that of the document it is a part of."""
    if any(field.name == "currency" for field in model._meta.fields):
        return True
    parents = [field.related_model for field in model._meta.fields if field.many_to_one]
    return any(field.name == "currency" for parent in parents for field in parent._meta.fields)


def test_instants_and_days_are_told_apart_by_name() -> None:
    """A datetime ends in `_at`, a calendar day in `_date`; the exceptions are listed with their reasons."""
    for name, field in our_fields():
        if isinstance(field, models.DateTimeField):
            assert field.name.endswith("_at") or name in INSTANTS_NAMED_OTHERWISE, name
            assert not field.auto_now, f"{name} reads the clock behind the services' back"
            assert not field.auto_now_add, f"{name} reads the clock behind the services' back"
        elif isinstance(field, models.DateField):
            assert field.name.endswith("_date"), name
    assert set(INSTANTS_NAMED_OTHERWISE) <= {name for name, _field in our_fields()}


def test_constraints_and_triggers_have_names_of_their_own() -> None:
    """A refusal is reported under the rule's name, so the name exists once in the whole house."""
    names = [constraint.name for model in our_models() for constraint in model._meta.constraints]
    names += [trigger.name for model in our_models() for trigger in getattr(model._meta, "triggers", [])]
    assert len(names) == len(set(names)), sorted(name for name in set(names) if names.count(name) > 1)


def test_booleans_are_positive() -> None:
    """`is_auto_collected` reads without a knot, `not_blocked` does not."""
    for name, field in our_fields():
        if isinstance(field, models.BooleanField):
            assert re.match(r"(is|has|can)_(?!not_)", field.name), name


def test_public_ids_have_a_prefix_each() -> None:
    """An id shown outside tells what it is an id of."""
    prefixes = [model.id_prefix for model in our_models() if hasattr(model, "id_prefix")]
    assert len(prefixes) == len(set(prefixes))
    assert all(re.fullmatch(r"[a-z]{3}", prefix) for prefix in prefixes)


def test_these_checks_can_fail(monkeypatch) -> None:
    """A machine that lost an edge, and money in a column that does not say so, are reported."""
    from apps.invoices.models import Invoice

    monkeypatch.setattr(Invoice, "edges", tuple(edge for edge in Invoice.edges if edge.action != "void"))
    for check in (
        test_transitions_are_the_edges,
        test_statuses_are_one_vocabulary,
        test_the_trigger_is_made_from_the_edges,
        test_every_status_has_a_way_in_and_a_way_out,
    ):
        with pytest.raises(AssertionError):
            check(Invoice)
    monkeypatch.setattr(Invoice._meta.get_field("total_minor"), "name", "total")
    with pytest.raises(AssertionError):
        test_money_is_whole_minor_units()
    upside_down = {app: -level for app, level in layers.levels().items()}
    monkeypatch.setattr(layers, "levels", lambda: upside_down)
    with pytest.raises(AssertionError):
        test_references_follow_the_layers()
