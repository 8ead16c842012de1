"""Groups of commands that tell which one was probably meant."""

import difflib

import click


class SuggestingGroup(click.Group):
    """A group that names, for a mistyped command, the one that looks most like it."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is called, with its help as click lays it out.

        Raises:
            click.UsageError: there is none of that name.
        """
        name, known = args[0], self.list_commands(ctx)
        near = difflib.get_close_matches(name, known, n=1)
        if near and name not in known:
            ctx.fail(f"No such command '{name}'. Did you mean {near[0]}?")
        found = super().resolve_command(ctx, args)
        if found[1] is not None:
            # Docstrings are raw; click looks for the character.
            found[1].help = (found[1].help or "").replace(r"\b", "\b")
        return found
