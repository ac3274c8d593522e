"""A click in the panel while a cell runs, in a real kernel: at once where the kernel allows it, after the cell else."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from tests.kernel.driver import Kernel

#: How a click reaches the panel, and the channel on which the front end has to send it for that.
ROUTE = "control" if version("ipykernel").startswith("6.") else "thread"
CHANNEL = {"thread": "shell", "control": "control"}[ROUTE]

#: Waits for the click, for a while; says whether it came.
BUSY = """\
print("begun", flush=True)
end = time.monotonic() + {seconds}
while w.running and time.monotonic() < end: time.sleep(0.01)
print(w.running)
"""


@pytest.fixture
def kernel():
    kernel = Kernel()
    kernel.run("%load_ext bgpool_jupyter\nimport time")
    kernel.run("w = %bgworker -n tick 10ms 1\npanel = %bgpool panel")
    yield kernel
    kernel.close()


def click_stop(kernel, channel, *, seconds=20):
    """Click on Stop, as the page does, while a cell runs; return whether the worker was running at the cell's end."""
    comm = kernel.run("print(panel.comm.comm_id, w.id)").stdout.split()
    request = kernel.send(BUSY.format(seconds=seconds))
    kernel.until_said("begun")
    command = {"kind": "command", "token": "t", "verb": "stop", "ids": [int(comm[1])]}
    content = {"comm_id": comm[0], "data": {"method": "custom", "content": command}}
    message = kernel.client.session.msg("comm_msg", content)
    {"shell": kernel.client.shell_channel, "control": kernel.client.control_channel}[channel].send(message)
    return kernel.answer(request).stdout


def test_panel_knows_its_route(kernel):
    assert kernel.run("panel.route").value == repr(ROUTE)


def test_click_on_the_routes_channel_works_while_a_cell_runs(kernel):
    assert click_stop(kernel, CHANNEL) == "False\n"


def test_click_without_the_route_waits_for_the_end_of_the_cell(kernel):
    """So it is where a front end sends clicks on the shell channel and the kernel is of version 6."""
    kernel.run("panel.close()\nfrom bgpool_jupyter import Panel\npanel = Panel(busy_route=False)")
    assert kernel.run("panel.route").value in {"'none'", "'reply'"}
    assert click_stop(kernel, "shell", seconds=1) == "True\n"
    kernel.until("not w.running")
