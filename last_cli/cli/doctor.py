"""`last doctor`."""

from last_cli.cli.app import command
from last_cli.cli.options import General


@command("last doctor", "last doctor --format json")
def doctor(*, general: General) -> None:
    """Show versions, devices, cache and data directories, for a bug report."""
    from last_cli.display.doctor import show_doctor
    from last_cli.evaluation import doctor as machine

    show_doctor(machine.doctor(), general.form)
