"""One file per subcommand; `app` gathers them."""

from __future__ import annotations

import typer

from ninesight_suite.commands import agent, check, demo, promqltest, query, server, store, up

__all__ = ["app"]

app = typer.Typer(
    name="ninesight",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""The nines of your model serving: latency percentiles, cost per prediction, service levels, alerts.

**Start here**

- `ninesight demo`: see everything on this machine, with a fault, an alert and its webhook
- `ninesight up`: run the suite; it receives on 127.0.0.1:9901 and shows pages on 127.0.0.1:9900
- `ninesight query 'up'`: ask it a question in PromQL
- `ninesight agent --remote-write URL`: collect on another node and send it there
""",
)
app.command("up")(up.up)
app.command("agent")(agent.agent)
app.command("demo")(demo.demo)
app.command("query")(query.query)
app.command("check")(check.check)
app.command("promqltest")(promqltest.promqltest)
app.add_typer(store.app, name="store")

# The server's own command line reads these arguments, `--help` included.
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command("serve", context_settings=_PASS_ON)
def serve(context: typer.Context) -> None:
    """Serve two ONNX models over the Open Inference Protocol v2 (the reference server)."""
    raise typer.Exit(server.run_server_command("serve", context.args))


@app.command("load", context_settings=_PASS_ON)
def load(context: typer.Context) -> None:
    """Send traffic with a shape (steady, burst, fault) to such a server, and log every request."""
    raise typer.Exit(server.run_server_command("load", context.args))


@app.command("version")
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    typer.echo(f"ninesight {installed('ninesight')}")
