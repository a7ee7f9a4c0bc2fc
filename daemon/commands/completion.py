"""`completion`: the script by which a shell completes commands, options and their values."""

import click

_VARIABLE = "_OURVIDZ_WORKER_COMPLETE"
_PROGRAM = "ourvidz-worker"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash   echo 'eval "$(ourvidz-worker completion bash)"' >> ~/.bashrc
    zsh    echo 'eval "$(ourvidz-worker completion zsh)"' >> ~/.zshrc
    fish   ourvidz-worker completion fish > ~/.config/fish/completions/ourvidz-worker.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise AssertionError("This can't happen because click has the three shells built in.")
    main = context.find_root().command
    # Not `source()`, which starts bash to ask for its version.
    complete = kind(main, {}, _PROGRAM, _VARIABLE)
    click.echo(complete.source_template % complete.source_vars())
