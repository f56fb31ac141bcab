"""The AiiDA profile of a command."""

from __future__ import annotations

import click


def load_profile(context: click.Context) -> None:
    """Load the profile that was asked for, or the default one.

    Raises
    ------
    click.UsageError
        If there is none: `aiida-dmi setup` makes one.
    """
    from aiida.common.exceptions import ConfigurationError
    from aiida.manage import configuration

    try:
        configuration.load_profile(context.find_root().params.get("profile"), allow_switch=True)
    except ConfigurationError as error:
        raise click.UsageError(f"no AiiDA profile ({error}); make one with `aiida-dmi setup`") from error
