"""The bans that import-linter and ruff cannot see, one function each; `test_code_rules.py` runs them.

Every rule brings code it must refuse and code it must let pass, because a check that cannot fail proves nothing.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.contracts.source import ROOT, Finding, Source, rule

_PUBLIC_MODULES = (
    "apps/*/services.py",
    "apps/*/services/*.py",
    "apps/*/selectors.py",
    "apps/*/selectors/*.py",
    "apps/workflows/*.py",
)
_NOT_PUBLIC = ("*/__init__.py", "*/apps.py", "*/management/*", "*_sql.py")
# Declaring a machine, and telling a person that somebody else was faster.
_FSM_WORDS = ("FSMField", "transition", "ConcurrentTransition")
_PARAMETERS_MAX = 8
_FUNCTION_LINES_MAX = 70
_CLOCK_READ = re.compile(
    r"(^|\.)(timezone\.(now|localdate|localtime)|datetime\.(now|utcnow|today)|date\.today)$"
    r"|^time\.(time|time_ns|localtime|gmtime)$"
)
_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for a chain of names, the tail of it after a call, and nothing for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def calls(source: Source) -> Iterator[tuple[ast.Call, str]]:
    """Yield every call with the dotted name of what is called."""
    for node in source.nodes:
        if isinstance(node, ast.Call):
            yield node, dotted(node.func)


def imported(source: Source) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of everything a module imports, wherever in the module."""
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def texts(source: Source) -> Iterator[tuple[int, str]]:
    """Yield every string that is not a docstring."""
    for node in source.nodes:
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and not isinstance(getattr(node, "parent", None), ast.Expr):
            yield node.lineno, node.value


def public_functions(source: Source) -> Iterator[_FunctionNode]:
    """Yield the functions other modules may call."""
    for node in source.tree.body:
        if isinstance(node, _FunctionNode) and not node.name.startswith("_"):
            yield node


@rule(
    where=["*.py"],
    refused=["x = ("],
    accepted=["x = 1"],
)
def modules_can_be_parsed(source: Source) -> Iterator[Finding]:
    """The oldest Python we support has to read every module."""
    if source.syntax_error is not None:
        yield source.syntax_error.lineno or 1, str(source.syntax_error)


@rule(
    refused=[
        "share = 0.5",
        "total = float(text)",
        "def f(*, rate: float) -> None: ...",
        "x = models.FloatField()",
        "seconds = span.total_seconds()",
        "stamp = at.timestamp()",
        "from math import sqrt",
    ],
    accepted=["share = Decimal('0.5')", "if isinstance(value, float): raise Invalid", "x = 5 // 2"],
)
def no_binary_float(source: Source) -> Iterator[Finding]:
    """A binary float cannot hold a tenth: a price that passed through one is off by a cent sooner or later.

    Asking whether a foreign value is a float, in order to refuse it, is the one permitted use of the word.
    """
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield node.lineno, f"the literal {node.value!r}"
        elif isinstance(node, ast.Name) and node.id == "float" and not _inside_isinstance(node):
            yield node.lineno, "the type float"
        elif isinstance(node, ast.Attribute) and node.attr in ("FloatField", "total_seconds", "timestamp"):
            yield node.lineno, f"{node.attr} makes a float; divide a timedelta by a timedelta with //"
    for line, name in imported(source):
        if name in ("math.sqrt", "math.pow", "math.exp", "math.log", "statistics.mean", "math.fsum"):
            yield line, f"{name} answers in floats"


def _inside_isinstance(node: ast.AST) -> bool:
    while node := getattr(node, "parent", None):  # type: ignore[assignment]
        if isinstance(node, ast.Call):
            return dotted(node.func) in ("isinstance", "issubclass")
    return False


@rule(
    refused=["document = json.loads(body)", "import json\nx = json.load(stream)"],
    accepted=["document = json.loads(body, parse_float=Decimal)"],
)
def json_is_read_without_floats(source: Source) -> Iterator[Finding]:
    """JSON numbers become binary floats unless the reader says otherwise, so each reader must say."""
    for node, name in calls(source):
        if name in ("json.loads", "json.load") and not any(word.arg == "parse_float" for word in node.keywords):
            yield node.lineno, f"{name} without parse_float"


@rule(
    unless=["apps/common/clock.py"],
    refused=[
        "at = timezone.now()",
        "at = datetime.now(UTC)",
        "at = datetime.datetime.utcnow()",
        "day = date.today()",
        "stamp = time.time()",
        "from django.utils.timezone import now",
        "from django.db.models.functions import Now",
        "SQL = 'UPDATE t SET paid_at = now()'",
        "SQL = 'SELECT clock_timestamp()'",
    ],
    accepted=["at = clock.now()", "started = time.monotonic_ns()", "text = 'Do it now.'"],
)
def clock_is_read_in_one_place(source: Source) -> Iterator[Finding]:
    """A service that reads the clock cannot be replayed, previewed or run on a customer's test clock.

    Edges call `apps.common.clock.now()` and pass `at` inward. Monotonic counters measure durations and are no clock.
    """
    for node, name in calls(source):
        if _CLOCK_READ.search(name):
            yield node.lineno, f"{name}()"
    for line, name in imported(source):
        if name in ("django.utils.timezone.now", "time.time", "time.time_ns"):
            yield line, f"the import of {name}"
        # The one column the database may stamp by itself is `created_at`, which no logic reads.
        if name == "django.db.models.functions.Now" and source.path != "apps/common/models.py":
            yield line, "the database's clock"
    for line, text in texts(source):
        if re.search(r"\bnow\(\)|current_timestamp|clock_timestamp\(|statement_timestamp\(", text, re.IGNORECASE):
            yield line, "the database's clock inside SQL"


@rule(
    unless=["apps/common/models.py", "*/admin.py", "apps/audit/*", "apps/messaging/*", "apps/backoffice/*"],
    refused=[
        "rows = Invoice.objects.filter(created_at__lt=at)",
        "x = invoice.created_at",
        "q = rows.order_by('created_at')",
    ],
    accepted=["x = invoice.issued_at"],
)
def created_at_is_not_a_fact(source: Source) -> Iterator[Finding]:
    """`created_at` is when the row was typed, which a replay or an import changes; business time has its own columns.

    The journals' seals are measured by it on purpose (how long did a row wait), and lists may show it.
    """
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and node.attr == "created_at":
            yield node.lineno, "reads .created_at"
        elif isinstance(node, ast.keyword) and (node.arg or "").split("__")[0] == "created_at":
            yield node.value.lineno, "asks for created_at"
    for line, text in texts(source):
        if text.lstrip("-") == "created_at":
            yield line, "names created_at"


@rule(
    # The outbox lies below the lifecycle, which writes it; its statuses are the relay's own book-keeping.
    unless=["apps/lifecycle/*", "apps/messaging/*"],
    refused=[
        "invoice.status = InvoiceStatus.PAID",
        "a, invoice.status = 1, 'PAID'",
        "invoice.status: str = 'PAID'",
        "setattr(invoice, 'status', 'PAID')",
        "Invoice.objects.filter(id=1).update(status='PAID')",
        "Invoice.objects.bulk_update(rows, ['status'])",
        "SQL = \"UPDATE invoices_invoice SET paid_minor = 1, status = 'PAID' WHERE id = 1\"",
    ],
    accepted=[
        "class Invoice(Model):\n    status = FSMField()",
        "rows.filter(status='DRAFT')",
        "transition_apply(instance=invoice, action='pay', actor=actor, at=at)",
        "SQL = \"UPDATE t SET parked_at = NULL WHERE status = 'OPEN'\"",
    ],
)
def status_changes_through_one_door(source: Source) -> Iterator[Finding]:
    """A status written past `lifecycle.services.transition_apply` has no audit entry, no event and no guard."""
    for node in source.nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for part in ast.walk(target):
                    if isinstance(part, ast.Attribute) and part.attr == "status":
                        yield node.lineno, f"assigns {dotted(part)}"
    for node, name in calls(source):
        if name == "setattr" and len(node.args) > 1 and _is_text(node.args[1], "status"):
            yield node.lineno, "setattr of status"
        elif name.endswith(".update") and any(word.arg == "status" for word in node.keywords):
            yield node.lineno, ".update(status=...)"
        elif name.endswith(".bulk_update") and any(_is_text(part, "status") for part in ast.walk(node)):
            yield node.lineno, ".bulk_update of status"
    for line, text in texts(source):
        if re.search(r"\bUPDATE\b[^;]*\bSET\b(?:(?!\bWHERE\b|\bFROM\b)[^;])*\bstatus\s*=", text, re.IGNORECASE):
            yield line, "SQL that sets a status"


def _is_text(node: ast.AST, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text


@rule(
    unless=["apps/tenancy/*"],
    refused=[
        "with tenant:\n    run()",
        "with self.tenant:\n    run()",
        "with Tenant.objects.get(slug='a') as t:\n    run()",
        "from django_tenants.utils import schema_context",
        "connection.set_tenant(tenant)",
        "connection.set_schema('t_a')",
    ],
    accepted=["with tenancy_context.tenant_context(schema_name=name):\n    run()"],
)
def tenants_are_entered_by_context_function(source: Source) -> Iterator[Finding]:
    """A tenant object used as a context keeps its way back in a list shared by all threads: two threads swap tenants.

    `apps.tenancy.context` checks that the tenant exists (the package alone falls back to the shared schema) and puts
    the name on every log line.
    """
    for node in source.nodes:
        if isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                text = ast.unparse(item.context_expr)
                is_plain = isinstance(item.context_expr, ast.Name | ast.Attribute)
                if (is_plain and re.search(r"tenant$", text)) or re.match(r"(\w+\.)*Tenant\.objects", text):
                    yield node.lineno, f"with {text}:"
    for line, name in imported(source):
        if re.match(r"django_tenants\.utils\.(tenant_context|schema_context)$", name):
            yield line, name
    for node, name in calls(source):
        if re.search(r"connection\.set_(tenant|schema|schema_to_public)$", name):
            yield node.lineno, f"{name}()"


@rule(
    unless=["*/tasks.py", "*/tasks/*"],
    refused=["close.delay(period_id='1')", "close.apply_async(kwargs={})", "app.send_task('x')"],
    accepted=["messaging_services.event_publish(topic='x')"],
)
def work_is_sent_from_tasks_only(source: Source) -> Iterator[Finding]:
    """A message sent inside a unit of work survives its rollback, or is lost with the process before it is sent.

    The record of work to do is a row (outbox, due period, open attempt); beat and the relay wake whoever does it.
    """
    for node, name in calls(source):
        if re.search(r"\.(delay|apply_async|send_task)$", name):
            yield node.lineno, f"{name}(...)"


@rule(
    refused=[
        "from django.db.models.signals import post_save",
        "from django.dispatch import receiver",
    ],
    accepted=["from apps.messaging import services"],
)
def no_signals(source: Source) -> Iterator[Finding]:
    """A signal is a call nobody sees at the place it is made from; news travels by the outbox and one visible table."""
    for line, name in imported(source):
        if name.startswith(("django.db.models.signals", "django.dispatch")):
            yield line, name


@rule(
    refused=["async def view(): ...", "thread = threading.Thread(target=run)", "pool = ThreadPoolExecutor()"],
    accepted=["lock = threading.Lock()"],
)
def no_threads_and_no_async(source: Source) -> Iterator[Finding]:
    """A new thread and the async ORM start in the shared schema and answer from it without complaint."""
    for node in source.nodes:
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncWith | ast.AsyncFor | ast.Await):
            yield node.lineno, "async code"
    for node, name in calls(source):
        if name.split(".")[-1] in ("Thread", "ThreadPoolExecutor", "sync_to_async", "async_to_sync"):
            yield node.lineno, name


@rule(
    where=["apps/*.py", "billing_site/*.py", "script/*.py", "tests/*.py"],
    refused=["x = 1"],
    example_path="apps/invoices/utils.py",
)
def modules_are_named_by_what_they_hold(source: Source) -> Iterator[Finding]:
    """`utils` is where code goes that nobody could place; a name that says nothing hides what it holds."""
    banned = {"util", "utils", "helper", "helpers", "misc", "manager", "managers", "common_utils", "stuff"}
    parts = PurePosixPath(source.path).with_suffix("").parts
    for part in parts:
        if part in banned or part.endswith(("_utils", "_helpers", "_misc")):
            yield 1, f"'{part}' says nothing"


@rule(
    where=_PUBLIC_MODULES,
    unless=_NOT_PUBLIC,
    refused=[
        "def invoice_pay(invoice_id: UUID, actor_id: UUID) -> None: ...",
        "def invoice_pay(invoice_id: UUID, *, at: datetime) -> None: ...",
        "def invoice_pay(*rows: int) -> None: ...",
    ],
    accepted=[
        "def invoice_pay(*, invoice_id: UUID) -> None: ...",
        "def invoice_by_reference(reference: str) -> Invoice: ...",
        "def _leaf(a, b): ...",
    ],
)
def public_functions_take_keywords(source: Source) -> Iterator[Finding]:
    """Two ids side by side can be swapped without anybody noticing; a name at the call cannot.

    A function of one single argument has nothing to swap.
    """
    for node in public_functions(source):
        positional = [*node.args.posonlyargs, *node.args.args]
        is_alone = len(positional) == 1 and not (node.args.kwonlyargs or node.args.kwarg)
        if node.args.vararg or (positional and not is_alone):
            yield node.lineno, f"{node.name} takes positional arguments; begin its list with *"


@rule(
    where=_PUBLIC_MODULES,
    unless=_NOT_PUBLIC,
    refused=["def f(*, a) -> None: ...", "def f(*, a: int): ...", "def f(*, a: int, **rest) -> None: ..."],
    accepted=["def f(*, a: int, **rest: object) -> None: ..."],
)
def public_functions_are_typed(source: Source) -> Iterator[Finding]:
    """The signature is the contract between apps, and mypy can only hold what is written."""
    for node in public_functions(source):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        missing = [argument.arg for argument in arguments if argument is not None and argument.annotation is None]
        if missing:
            yield node.lineno, f"{node.name}: no type for {', '.join(missing)}"
        if node.returns is None:
            yield node.lineno, f"{node.name}: no return type"


@rule(
    where=_PUBLIC_MODULES,
    unless=_NOT_PUBLIC,
    refused=["def f(*, " + ", ".join(f"a{number}: int" for number in range(9)) + ") -> None: ..."],
    accepted=["def f(*, " + ", ".join(f"a{number}: int" for number in range(8)) + ") -> None: ..."],
)
def public_functions_take_few_parameters(source: Source) -> Iterator[Finding]:
    """More than eight parameters are a thing without a name: make it an input dataclass."""
    for node in public_functions(source):
        count = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs)
        if count > _PARAMETERS_MAX:
            yield node.lineno, f"{node.name} takes {count} parameters"


@rule(
    where=_PUBLIC_MODULES,
    unless=_NOT_PUBLIC,
    refused=["def f(*, a: int) -> None:\n    return None"],
    accepted=["def f(*, a: int) -> None:\n    '''Do it.'''"],
)
def public_functions_say_what_they_do(source: Source) -> Iterator[Finding]:
    """One sentence at the door spares the next reader the whole room."""
    for node in public_functions(source):
        if not ast.get_docstring(node):
            yield node.lineno, f"{node.name} has no docstring"


@rule(
    where=_PUBLIC_MODULES,
    unless=_NOT_PUBLIC,
    refused=["def invoice_pay(*, at: datetime | None = None) -> None: ..."],
    accepted=["def invoice_pay(*, at: datetime) -> None: ..."],
)
def at_has_no_default(source: Source) -> Iterator[Finding]:
    """A default for `at` is a clock read in disguise, and the caller who forgets it gets the wrong day."""
    for node in public_functions(source):
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            if argument.arg == "at" and default is not None:
                yield node.lineno, f"{node.name} has a default for at"


@rule(
    where=["apps/*.py", "billing_site/*.py", "script/*.py", "benchmarks/*.py"],
    refused=["def f():\n" + "    x = 1\n" * 70],
    accepted=["def f():\n" + "    x = 1\n" * 69],
)
def functions_fit_a_screen(source: Source) -> Iterator[Finding]:
    """What does not fit a screen is not read whole; keep decisions in the parent and put work into leaves."""
    for node in source.nodes:
        if isinstance(node, _FunctionNode):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > _FUNCTION_LINES_MAX:
                yield node.lineno, f"{node.name} has {lines} lines; {_FUNCTION_LINES_MAX} are the limit"


_SIZES = (("apps/engine/", 350), ("tests/", 700), ("benchmarks/", 700), ("", 400))


@rule(
    where=["apps/*.py", "billing_site/*.py", "script/*.py", "tests/*.py", "benchmarks/*.py"],
    refused=["x = 1\n" * 401],
    accepted=["x = 1\n" * 400],
)
def modules_stay_small(source: Source) -> Iterator[Finding]:
    """A module one can hold in the head: engine 350 lines, models 500, tests 700, the rest 400. Split by concept."""
    limit = next(limit for prefix, limit in _SIZES if source.path.startswith(prefix))
    if source.stem == "models":
        limit = 500
    lines = source.text.count("\n")
    if lines > limit:
        yield lines, f"{lines} lines; {limit} are the limit"


@rule(
    unless=["*/management/commands/*"],
    refused=["print('done')", "sys.stdout.write('done')"],
    accepted=["log.info('done')"],
)
def nothing_prints(source: Source) -> Iterator[Finding]:
    """What is printed carries no tenant, no request id and no level, and nobody finds it again."""
    for node, name in calls(source):
        if name in ("print", "sys.stdout.write", "sys.stderr.write", "pprint"):
            yield node.lineno, f"{name}(...)"


@rule(
    refused=[
        "def f():\n    pass",
        "try:\n    f()\nexcept ValueError:\n    pass",
        "def f():\n    raise NotImplementedError",
        "def f():\n    ...",
        "x = 1  # TODO: later",
        "x = 1  # FIXME",
    ],
    accepted=[
        "class Gateway(Protocol):\n    def charge(self) -> None: ...",
        "class Refused(Conflict):\n    '''It is.'''",
    ],
)
def nothing_is_left_for_later(source: Source) -> Iterator[Finding]:
    """A stub answers as if it had worked. What is not built is refused by name; what is built is whole."""
    for node in source.nodes:
        if isinstance(node, ast.Pass):
            yield node.lineno, "bare pass"
        elif isinstance(node, ast.Name) and node.id in ("NotImplementedError", "NotImplemented"):
            yield node.lineno, node.id
        elif isinstance(node, _FunctionNode) and _is_ellipsis_only(node) and not _in_protocol(node):
            yield node.lineno, f"{node.name} has no body"
    if source.syntax_error is not None:
        return
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and re.search(r"\b(TODO|FIXME|HACK|XXX)\b", token.string):
            yield token.start[0], token.string


def _is_ellipsis_only(node: _FunctionNode) -> bool:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return len(body) == 1 and isinstance(body[0], ast.Expr) and _is_constant_ellipsis(body[0].value)


def _is_constant_ellipsis(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _in_protocol(node: ast.AST) -> bool:
    parent = getattr(node, "parent", None)
    return isinstance(parent, ast.ClassDef) and any(dotted(base).endswith("Protocol") for base in parent.bases)


@rule(
    where=["apps/*.py", "billing_site/*.py"],
    unless=["apps/payments/gateways/*"],
    refused=["import stripe", "from stripe import StripeClient"],
    accepted=["from apps.payments.gateways import base"],
)
def processors_are_spoken_to_by_gateways(source: Source) -> Iterator[Finding]:
    """One module translates a processor's words; anywhere else they would leak into what we store and decide."""
    for line, name in imported(source):
        if name.split(".")[0] == "stripe":
            yield line, name


@rule(
    unless=["apps/lifecycle/*"],
    refused=["from django_fsm import ConcurrentTransitionMixin", "from django_fsm import FSMModelMixin"],
    accepted=["from django_fsm import FSMField, transition"],
)
def machines_stand_on_lifecycle_model(source: Source) -> Iterator[Finding]:
    """The package has bases that reload or save stale rows wrongly; `LifecycleModel` is built on the right one."""
    for line, name in imported(source):
        if name.startswith("django_fsm") and name.rpartition(".")[2] not in _FSM_WORDS:
            yield line, name


@rule(
    refused=["from apps.ledger.services import transaction_post", "from apps.ledger.selectors import trial_balance"],
    accepted=[
        "from apps.ledger import services as ledger_services",
        "from apps.invoices.services import invoice_finalize",
        "from apps.lifecycle.services import transition_apply",
    ],
)
def apps_import_modules_of_each_other(source: Source) -> Iterator[Finding]:
    """`ledger_services.transaction_post` says whose verb it is; a bare name sends the reader searching.

    `transition_apply` is the exception: there is one in the house, and the rule about the one door looks for its name.
    """
    for node in source.nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            match = re.match(r"apps\.(\w+)\.(services|selectors)(?:\.|$)", node.module)
            if match and match[1] != source.app:
                folder = ROOT / node.module.replace(".", "/")
                functions = [
                    alias.name
                    for alias in node.names
                    if not (folder / f"{alias.name}.py").exists()
                    and not alias.name[0].isupper()
                    and alias.name != "transition_apply"
                ]
                if functions:
                    yield node.lineno, f"imports {', '.join(functions)} out of {node.module}"


@rule(
    where=["apps/*.py", "billing_site/*.py"],
    unless=[
        "billing_site/settings/components/environment.py",
        "billing_site/wsgi.py",
        "billing_site/celery.py",
    ],
    refused=["import os\nx = os.environ['X']", "x = os.getenv('X')"],
    accepted=["x = settings.BASE_DOMAIN"],
)
def environment_is_read_once(source: Source) -> Iterator[Finding]:
    """A variable read in a corner is in no table, has no type and fails at midnight instead of at the start."""
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and dotted(node) in ("os.environ", "os.getenv", "os.putenv"):
            yield node.lineno, dotted(node)


@rule(
    refused=["items = cache[hash(text)]"],
    accepted=["digest = hashlib.sha256(data)", "class A:\n    def __hash__(self):\n        return hash(self.a)"],
)
def builtin_hash_is_not_an_identity(source: Source) -> Iterator[Finding]:
    """`hash()` of text differs in every process: two workers would disagree whether an event is a duplicate."""
    for node, name in calls(source):
        if name == "hash":
            parent: ast.AST | None = node
            while parent is not None and not isinstance(parent, _FunctionNode):
                parent = getattr(parent, "parent", None)
            if parent is None or parent.name != "__hash__":
                yield node.lineno, "hash()"
