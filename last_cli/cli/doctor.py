"""`last doctor`."""

from last_cli.cli.app import command
from last_cli.cli.options import Reported
from last_cli.cli.shared import show


@command("last doctor", "last doctor --format json")
def doctor(*, general: Reported) -> None:
    """Show versions, devices, cache and data directories, for a bug report."""
    from last_cli.display.doctor import doctor_view
    from last_cli.evaluation import doctor as machine

    show(doctor_view(machine.doctor()), general)
