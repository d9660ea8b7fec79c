"""Changes functions of loaded modules in place, for all who have imported them: by new source text."""

from __future__ import annotations

import ast
import contextlib
import inspect
import types
from collections.abc import Iterator
from pathlib import Path

from plotfarm.transfer import move, publish, receive, removal, send

JOURNEYS = (receive, send, removal, publish, move)
Code = tuple[types.FunctionType, types.CodeType]


@contextlib.contextmanager
def patched(module: types.ModuleType, source: str | ast.Module) -> Iterator[None]:
    """Let a module's functions, and its constants, be those of another source text for a while."""
    new = dict(module.__dict__)
    exec(compile(source, str(module.__file__), "exec"), new)
    undo = [(function, function.__code__) for function, _ in _functions(module, new)]
    constants = {}
    for function, code in _functions(module, new):
        function.__code__ = code
    for name, value in new.items():
        if name.isupper() and isinstance(value, tuple | dict | int):
            constants[name] = module.__dict__[name]
            setattr(module, name, value)
    try:
        yield
    finally:
        for function, code in undo:
            function.__code__ = code
        for name, value in constants.items():
            setattr(module, name, value)


def _functions(module: types.ModuleType, new: dict[str, object]) -> list[Code]:
    """Return the module's functions and methods with the code that is to replace theirs."""
    found: list[Code] = []
    for name, value in new.items():
        old = module.__dict__.get(name)
        if isinstance(value, types.FunctionType) and isinstance(old, types.FunctionType):
            if value.__module__ == module.__name__:
                found.append((old, value.__code__))
        elif (
            inspect.isclass(value) and inspect.isclass(old) and value.__module__ == module.__name__ and value is not old
        ):
            for attribute, method in vars(value).items():
                replaced = vars(old).get(attribute)
                new_function = getattr(method, "__func__", method)
                old_function = getattr(replaced, "__func__", replaced)
                if isinstance(new_function, types.FunctionType) and isinstance(old_function, types.FunctionType):
                    found.append((old_function, new_function.__code__))
    return found


# ---- Which handlers of exceptions were entered --------------------------------------------------------------


def handlers() -> set[tuple[str, int]]:
    """Return every `except` of the journeys: file and line."""
    found = set()
    for module in JOURNEYS:
        for node in ast.walk(ast.parse(_source(module))):
            if isinstance(node, ast.ExceptHandler):
                found.add((Path(str(module.__file__)).name, node.lineno))
    return found


@contextlib.contextmanager
def watched(entered: set[tuple[str, int]]) -> Iterator[None]:
    """Note in `entered` which handlers are entered meanwhile."""
    with contextlib.ExitStack() as stack:
        for module in JOURNEYS:
            name = Path(str(module.__file__)).name
            tree = ast.parse(_source(module))
            for node in ast.walk(tree):
                if isinstance(node, ast.ExceptHandler):
                    node.body.insert(0, ast.parse(f"_entered({node.lineno})").body[0])
            module.__dict__["_entered"] = lambda line, name=name: entered.add((name, line))
            stack.enter_context(patched(module, ast.fix_missing_locations(tree)))
        yield


def _source(module: types.ModuleType) -> str:
    return Path(str(module.__file__)).read_text()
