"""The processes of the load test, each pinned to its core and stopped at the end."""

import os
import re
import socket
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent
TICK = os.sysconf("SC_CLK_TCK")
# It has the same length as the tokens of our issuer.
TOKEN = "0" * 128


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Fleet:
    """Starts processes, and stops them at the end, also after an error."""

    def __init__(self, state):
        self.state, self.running = Path(state), []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.running:
            process.popen.terminate()
        for process in self.running:
            try:
                process.popen.wait(5)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()

    def start(self, name, core, port, argv, **environment):
        with open(self.state / f"{name}.out", "wb") as out, open(self.state / f"{name}.err", "wb") as err:
            popen = subprocess.Popen(
                ["taskset", "-c", str(core), *map(str, argv)],
                env={**os.environ, "HOME": str(self.state), **environment},
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )
        process = Process(popen, port, self.state / f"{name}.out")
        self.running.append(process)
        for _ in range(400):
            if popen.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process
            time.sleep(0.05)
        errors = (self.state / f"{name}.err").read_text(errors="replace")
        raise RuntimeError(f"{name} did not start:\n{errors[-2000:]}")

    def configuration(self, file, **ports):
        """Returns the path of a file of `conf/` with the ports inserted."""
        words = {**ports, "STATE": self.state, "TOKEN": TOKEN}
        text = (HERE / "conf" / file).read_text()
        text = re.sub("|".join(words), lambda word: str(words[word[0]]), text)
        path = self.state / f"{ports['LISTEN']}-{file}"
        path.write_text(text)
        return path


class Process:
    def __init__(self, popen, port, out):
        self.popen, self.port, self.out = popen, port, out

    def cpu(self):
        """Returns the CPU seconds of all its threads."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def most_memory(self):
        """Returns the peak memory in MiB."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def on_core_1(fleet, binary, *arguments):
    """Starts one of our own programs. Its first argument is its address."""
    port = free_port()
    return fleet.start(f"{binary.name}-{port}", 1, port, [binary, f"127.0.0.1:{port}", *arguments])


def busy(core):
    """Returns the seconds that a core was busy, and the total seconds."""
    with open("/proc/stat") as stat:
        fields = next(line for line in stat if line.startswith(f"cpu{core} ")).split()[1:9]
    ticks = [int(field) / TICK for field in fields]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
