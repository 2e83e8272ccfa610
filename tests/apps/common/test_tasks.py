"""Tasks know their tenant, say it, and leave no other one behind."""

import pytest

from apps.common import context as request_context
from apps.common.tasks import for_each_tenant, tenant_task, wake_each_tenant
from apps.tenancy import context

pytestmark = pytest.mark.django_db

seen: list[tuple[str, str]] = []
request_ids: list[str] = []


@tenant_task(name="tests.where_am_i")
def where_am_i(*, schema_name: str, **_future: object) -> None:
    """Note which tenant was named and which one is entered."""
    seen.append((schema_name, context.current_schema()))
    request_ids.append(request_context.request_id())


@pytest.fixture(autouse=True)
def _forget() -> None:
    seen.clear()
    request_ids.clear()


def test_a_task_runs_inside_the_tenant_it_names_and_leaves_it(tenant, other_tenant):
    where_am_i(schema_name=other_tenant)
    assert seen == [(other_tenant, other_tenant)]
    assert context.current_schema() == tenant


def test_a_task_refuses_a_schema_that_is_no_tenant(tenant):
    for schema_name in ("public", "t_nobody", ""):
        with pytest.raises(context.TenantUnknown):
            where_am_i(schema_name=schema_name)
    assert seen == []


def test_a_task_takes_arguments_of_a_later_release(tenant, other_tenant):
    where_am_i(schema_name=other_tenant, something_new=1)
    assert len(seen) == 1


def test_a_task_has_a_request_id_of_its_own(tenant, other_tenant):
    where_am_i(schema_name=other_tenant)
    where_am_i(schema_name=other_tenant)
    assert [request_id.partition("-")[0] for request_id in request_ids] == ["task", "task"]
    assert len(set(request_ids)) == 2


def test_a_job_leaves_its_request_id_to_nobody(tenant):
    request_context.request_id_set("req-before")
    for_each_tenant(lambda schema_name: request_ids.append(request_context.request_id()), job="tests")
    assert len(set(request_ids)) == len(request_ids) >= 2
    assert request_context.request_id() == "req-before"
    request_context.request_id_set("")


def test_each_ready_tenant_is_woken(tenant):
    wake_each_tenant(where_am_i)
    assert {"t_alpha", "t_beta"} <= {named for named, _entered in seen}
    assert all(named == entered for named, entered in seen)


def test_one_failing_tenant_does_not_stop_the_next(tenant):
    worked: list[str] = []

    def work(*, schema_name: str) -> None:
        if schema_name == "t_alpha":
            raise RuntimeError("this tenant is broken")
        worked.append(schema_name)

    for_each_tenant(work, job="tests")
    assert "t_beta" in worked
    assert "t_alpha" not in worked
