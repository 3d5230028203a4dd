"""A typer command out of a function and the specs that it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints

import typer

from ann2snn_diffusion.cli.option_of_field import fields_with_flags, option, parse
from ann2snn_diffusion.cli.recipe import read_recipe
from ann2snn_diffusion.cli.refused_values import explain
from ann2snn_diffusion.cli.resolve import Request, resolve
from ann2snn_diffusion.cli.shared_options import Debug, Recipe
from ann2snn_diffusion.cli.tables import TABLES
from ann2snn_diffusion.common.errors import A2SError, InterruptionError


def command(function: Callable[..., None]) -> Callable[..., None]:
    """The typer command of a function that takes the specs of its tables, each as a parameter of the table's name.

    In the place of these parameters stand --recipe and an option for each of their fields; --debug is added. Errors
    that a user can mend speak of flags.
    """
    name = function.__name__.replace("_", "-")
    specs = TABLES.get(name, {})
    fields = {field: declared for spec in specs.values() for field, declared in fields_with_flags(spec).items()}

    @wraps(function)
    def run(context: typer.Context, debug: bool, recipe: str | None = None, **given: Any) -> None:
        del debug  # the frame around all commands looks for it
        flags = {str(one.name): max(one.opts, key=len) for one in context.command.params if one.opts[0].startswith("-")}
        asked = {
            field: parse(fields[field], value) if field in fields else value
            for field, value in given.items()
            if value is not None
        }
        request = Request(asked, recipe, read_recipe(recipe, name) if recipe else {})
        try:
            function(**{field: given[field] for field in given.keys() - fields.keys()}, **resolve(request, specs))
        except InterruptionError:
            raise
        except A2SError as error:
            raise A2SError(explain(error, request, flags)) from error
        except KeyboardInterrupt:
            raise InterruptionError("interrupted; nothing was written, the same command starts anew") from None

    parameters = _parameters(function, specs)
    run.__signature__ = Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _parameters(function: Callable[..., None], specs: Mapping[str, type]) -> list[Parameter]:
    own, hints = signature(function).parameters, get_type_hints(function, include_extras=True)
    names = [*own, *(field for spec in specs.values() for field in fields_with_flags(spec))]
    parameters = [Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for name, parameter in own.items():
        if name == next(iter(specs), None):
            parameters.append(Parameter("recipe", Parameter.KEYWORD_ONLY, default=None, annotation=Recipe))
        if name in specs:
            parameters += [option(declared, names) for declared in fields_with_flags(specs[name]).values()]
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name]))
    return [*parameters, Parameter("debug", Parameter.KEYWORD_ONLY, default=False, annotation=Debug)]
