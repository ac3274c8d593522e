"""A cell body compiled once, and run in the notebook's namespace from any thread.

Compiling takes the way of IPython's own cells (input transformation, its cache of source lines, AST
transformers), so that magics, ``!commands`` and tracebacks work. Running takes another way: ``run_cell`` from
threads corrupts history and ``Out``; a compiled body that is executed in the namespace touches neither, nor
``In``, ``_`` and the execution count.

The names ``_worker``, ``_data`` and ``_job`` mean the run's own worker, data and job. They cannot be global
names, for which runs would race, so a body that uses them is compiled as a function that has them as its
parameters; all other names that it binds are declared global, and so land in the namespace as they do in a cell.
"""

from __future__ import annotations

import ast
import asyncio
import contextvars
import copy
import inspect
import symtable
import types
from collections.abc import Callable, Coroutine
from typing import Any

from .capture import CURRENT_OUTPUT

__all__ = ["CellBody", "compile_body"]

#: What the run provides to a body that names it.
RUN_NAMES = ("_worker", "_data", "_job")

_MODULE = "<module>"  # what tracebacks call the top level of a cell

#: Executes a body: namespace and the objects that RUN_NAMES stand for → value, or a coroutine that returns it.
Program = Callable[[dict[str, Any], tuple[Any, ...]], Any]


class CellBody:
    """A compiled body, callable any number of times and from several threads at once.

    What a call returns is the value of the body's last expression, None if the body ends in a statement or
    in ``;``. A body that waits, or whose value is a coroutine, returns a coroutine for whoever called to await.

    Notes
    -----
    Threads: may be called from any thread. Each call has a copy of the context in which the body was compiled,
    also for what is awaited; the output of the run in whose course it is called goes on to that run.
    """

    def __init__(self, namespace: Callable[[], dict[str, Any]], program: Program, filename: str, source: str) -> None:
        self._namespace = namespace
        self._program = program
        self._context = contextvars.copy_context()
        #: The name under which tracebacks find the source lines.
        self.filename = filename
        #: The body as it was written.
        self.source = source

    def __call__(self, *, _worker: Any = None, _data: Any = None, _job: Any = None) -> Any:
        """Execute the body, or return the coroutine that does; the engine provides worker and data, or the job."""
        context = self._context.copy()
        context.run(CURRENT_OUTPUT.set, CURRENT_OUTPUT.get())
        try:
            value = context.run(self._program, self._namespace(), (_worker, _data, _job))
        except BaseException as error:
            raise self._trimmed(error)  # noqa: B904 - it is the same error
        return self._within(context, value) if inspect.iscoroutine(value) else value

    def here(self) -> CellBody:
        """Return the same body in a copy of the caller's context: what it prints and asks belongs to the caller's cell.

        The context in which a body was compiled knows the cell that defined it, to which ipykernel leads its output.
        """
        twin = copy.copy(self)
        twin._context = contextvars.copy_context()  # noqa: SLF001 - it is its own
        return twin

    async def _within(self, context: contextvars.Context, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await in the body's own context; a cancellation reaches the body."""
        task = asyncio.get_running_loop().create_task(_outcome(coroutine), context=context)
        value, error = await task
        if error is None:
            return value
        try:
            raise self._trimmed(error)
        finally:
            del task, error  # with them the error would keep its own frames alive

    def _trimmed(self, error: BaseException) -> BaseException:
        return error.with_traceback(_frames_from(error.__traceback__, self.filename))

    def __repr__(self) -> str:
        first = self.source.strip().split("\n", 1)[0]
        return f"CellBody({first[:60]!r})"


def compile_body(shell: Any, source: str, *, number: int | str, heading: str = "", line: int = 1) -> CellBody:
    """Compile a body as IPython would compile it as a cell.

    Parameters
    ----------
    shell
        The InteractiveShell in whose namespace the body is to run.
    source
        The body as it was written.
    number
        The execution count of the cell that defines it, which tracebacks show; or what they show instead.
    heading
        The lines of the cell's magic above the body, which are counted, so that line numbers are those of the cell.
    line
        The line of the cell, from 1, on which the heading or the body begins.

    Raises
    ------
    SyntaxError
        If the body has one, with its place in the cell.

    Notes
    -----
    Threads: belongs to the main thread: IPython's input transformers have state.
    """
    above = "\n" * (line - 1) + "".join(f"# {each}\n" for each in heading.splitlines())
    stripped = source.lstrip("\n")  # IPython drops leading empty lines, and the count with them
    above += "\n" * (len(source) - len(stripped))
    text = above + shell.transform_cell(stripped)
    # ipykernel names a source after its text alone; with the number, equal bodies of two cells have two names.
    filename = shell.compile.cache(text, number, raw_code=f"# {number}\n{above}{source}")
    tree = shell.transform_ast(shell.compile.ast_parse(text, filename=filename))
    flags = shell.compile.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    names_used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    make = _function_program if names_used.intersection(RUN_NAMES) else _module_program
    program = make(tree, filename, flags, quiet=_ends_in_semicolon(text))
    return CellBody(lambda: shell.user_ns, program, filename, source)


def _compile(tree: ast.Module | ast.Expression, filename: str, flags: int) -> types.CodeType:
    mode = "exec" if isinstance(tree, ast.Module) else "eval"
    code: types.CodeType = compile(tree, filename, mode, flags=flags, dont_inherit=True)
    return code


def _module_program(tree: ast.Module, filename: str, flags: int, *, quiet: bool) -> Program:
    """Compile a body that is executed like a module; its last expression is split off for its value."""
    parts: list[ast.Module | ast.Expression] = [tree]
    if not quiet and tree.body and isinstance(tree.body[-1], ast.Expr):
        parts = [ast.Expression(tree.body[-1].value)]
        if len(tree.body) > 1:
            parts.insert(0, ast.Module(tree.body[:-1], []))
    codes = [_compile(part, filename, flags) for part in parts]

    if not any(code.co_flags & inspect.CO_COROUTINE for code in codes):

        def program(namespace: dict[str, Any], _provided: tuple[Any, ...]) -> Any:
            value = None
            for code in codes:
                value = eval(code, namespace)  # noqa: S307 - the user's own code
            return value

        return program

    async def waiting_program(namespace: dict[str, Any], _provided: tuple[Any, ...]) -> Any:
        value = None
        for code in codes:
            value = eval(code, namespace)  # noqa: S307 - the user's own code
            if code.co_flags & inspect.CO_COROUTINE:
                value = await value
        return value

    return waiting_program


def _function_program(tree: ast.Module, filename: str, flags: int, *, quiet: bool) -> Program:
    """Compile a body as a function of the names that a run provides."""
    as_module = _compile(tree, filename, flags)  # refuses what a cell would refuse, such as `return`
    waits = as_module.co_flags & inspect.CO_COROUTINE
    body = [_PlainAssignments().visit(node) for node in tree.body]
    if not quiet and isinstance(body[-1], ast.Expr):
        body[-1] = ast.copy_location(ast.Return(body[-1].value), body[-1])
    bound = _bound_names(tree) - set(RUN_NAMES)
    if bound:
        body.insert(0, ast.Global(sorted(bound)))
    # Parsed and not put together: which fields a node must have differs between versions of Python.
    outer = ast.parse(f"{'async ' if waits else ''}def body({', '.join(RUN_NAMES)}): pass")
    outer.body[0].body = body  # type: ignore[attr-defined]
    module = _compile(ast.fix_missing_locations(outer), filename, flags)
    code = next(constant for constant in module.co_consts if isinstance(constant, types.CodeType))
    code = code.replace(co_name=_MODULE, co_qualname=_MODULE)
    return lambda namespace, provided: types.FunctionType(code, namespace)(*provided)


def _bound_names(tree: ast.Module) -> set[str]:
    """Return the names that the body binds at its top level: assignments, imports, definitions, deletions."""
    symbols = symtable.symtable(ast.unparse(tree), _MODULE, "exec").get_symbols()
    # The third are those that `:=` binds inside a comprehension.
    return {s.get_name() for s in symbols if s.is_local() or s.is_assigned() or s.is_declared_global()}


class _PlainAssignments(ast.NodeTransformer):
    """Takes the annotations off top-level assignments, since a name declared global may not have one."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        plain = ast.Expr(node.annotation) if node.value is None else ast.Assign([node.target], node.value)
        return ast.copy_location(plain, node)

    def _leave(self, node: Any) -> Any:
        return node  # another scope

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = visit_Lambda = _leave  # noqa: N815


def _ends_in_semicolon(text: str) -> bool:
    from IPython.core.displayhook import DisplayHook  # noqa: PLC0415

    return bool(DisplayHook.semicolon_at_end_of_expression(text))  # type: ignore[no-untyped-call]


async def _outcome(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """Return value and error: a task that raises SystemExit, as `sys.exit()` does, would end the loop of all."""
    try:
        value = await coroutine
        # `poll()` of an `async def poll` is a coroutine again, which nobody else would await.
        return (await value if inspect.iscoroutine(value) else value), None
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return None, error


def _frames_from(frames: types.TracebackType | None, filename: str) -> types.TracebackType | None:
    """Return the traceback from the body's first frame on, or whole if the body has none in it."""
    inner = frames
    while inner is not None and inner.tb_frame.f_code.co_filename != filename:
        inner = inner.tb_next
    return inner or frames
