"""Groups of commands that tell which one was probably meant."""

import difflib

import click


class SuggestingGroup(click.Group):
    """A group that names, for a mistyped command, the one that looks most like it."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is called.

        Raises:
            click.UsageError: there is none of that name.
        """
        name, known = args[0], self.list_commands(ctx)
        near = difflib.get_close_matches(name, known, n=1)
        if near and name not in known:
            ctx.fail(f"No such command '{name}'. Did you mean {near[0]}?")
        return super().resolve_command(ctx, args)
