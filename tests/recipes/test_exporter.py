"""zramfs-exporter and zramfs-textfile: all mounts on one page, whatever some of them do."""

import concurrent.futures
import os
import re
import signal
import socket
import stat
import subprocess
import time

import pytest

from conftest import User, lacking
from host import Alone, mounts, run, wait_until
from monitoring import CONTRIB, Exporter, fetch, free_port
from zramfs import BINARY, CTL, Zramfs

EXPORTER, TEXTFILE = CONTRIB / "zramfs-exporter", CONTRIB / "zramfs-textfile"
SAMPLE = re.compile(r'(\w+)\{mount="((?:[^"\\]|\\.)*)"((?:,\w+="(?:[^"\\]|\\.)*")*)\} (\S+)')


@pytest.fixture
def zramfs(place):
    """zramfs(config, ...): a mount that is ready, in a directory of its own."""
    started = []

    def start(config="[disk0]\ndisksize = 8M\n", name=None, **kwargs):
        own = place / (name or str(len(started)))
        own.mkdir()
        started.append(Zramfs(own, config, **kwargs))
        return started[-1].start()

    yield start
    for mount in started:
        mount.stop()


@pytest.fixture
def exporter(place):
    started = []

    def start(*arguments, **kwargs):
        started.append(Exporter(place, *arguments, **kwargs))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def samples(page):
    """{(metric, mount, other labels): value}. HELP and TYPE come once, before all of a family."""
    found, family, families = {}, None, set()
    for line in page.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            assert family not in families, f"{family} twice"
            families.add(family)
        elif line.startswith("# TYPE "):
            assert line.split()[2] == family
        else:
            metric, point, labels, value = SAMPLE.fullmatch(line).groups()
            assert re.sub(r"_(bucket|sum|count)$", "", metric) == family or metric == family
            assert (metric, point, labels) not in found
            found[metric, point, labels] = float(value)
    return found


def ups(page):
    return {point: value for (metric, point, _), value in samples(page).items()
            if metric == "zramfs_up"}


def check(page):
    if lacking("promtool"):
        return
    done = run("promtool", "check", "metrics", input=page, stdin=None, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_one_mount_says_what_it_says(zramfs, exporter):
    """Every sample of .metrics, with the label, and nothing else."""
    mount = zramfs("[a]\ndisksize = 8M\n[b]\ndisksize = 4M\nformat = swap\n")
    page = exporter(mount.point).page()
    label, wanted = f'mount="{mount.point}"', []
    for line in (mount.point / ".metrics").read_text().splitlines():
        if not line.startswith("#"):
            line = (line.replace("{", f"{{{label},") if "{" in line
                    else line.replace(" ", f"{{{label}}} "))
        wanted.append(line)
    assert [line for line in page.splitlines() if "zramfs_up" not in line] == wanted
    assert samples(page)["zramfs_up", str(mount.point), ""] == 1
    check(page)


@pytest.mark.root
def test_many_mounts_are_one_page(zramfs, exporter):
    """All of ours are found without being named, and those that come and go, too."""
    mine = [zramfs(f"[disk{i}]\ndisksize = {i + 1}M\n") for i in range(5)]
    ours = exporter()
    page = ours.page()
    check(page)
    found = samples(page)
    for i, mount in enumerate(mine):
        assert found["zramfs_disksize_bytes", str(mount.point), f',disk="disk{i}"'] == (i + 1) << 20
    mine[2].unmount()
    after = ups(ours.page())
    assert str(mine[2].point) not in after and after[str(mine[3].point)] == 1
    new = zramfs()
    assert ups(ours.page())[str(new.point)] == 1


@pytest.mark.root
def test_a_mount_that_is_bound_elsewhere_is_there_once(zramfs, exporter, place):
    mount = zramfs()
    (place / "other").mkdir()
    run("mount", "--bind", mount.point, place / "other")
    try:
        found = ups(exporter().page())
        assert found[str(mount.point)] == 1 and str(place / "other") not in found
    finally:
        run("umount", place / "other")


def test_named_mounts_and_no_others(zramfs, exporter, place):
    """One that is not there, or is no zramfs, is down and does not go by unseen."""
    one, other = zramfs(), zramfs()
    ours = exporter(one.point, place / "nothing", "/proc")
    assert ups(ours.page()) == {str(one.point): 1, str(place / "nothing"): 0, "/proc": 0}
    assert str(other.point) not in ours.page()
    ours.page()
    assert ours.said().count("no zramfs is mounted there") == 2  # each once, not at each scrape
    one.unmount()
    assert ups(ours.page())[str(one.point)] == 0


@pytest.mark.root
def test_odd_names(zramfs, exporter):
    mount = zramfs('[disk0]\ndisksize = 8M\n', name='a "b" \\c\nd é')
    with open(os.fsencode(mount.point) + b'/x"\\y', "wb"):
        pass
    page = exporter().page()
    quoted = str(mount.point).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    found = samples(page)
    assert found["zramfs_up", quoted, ""] == 1
    assert found["zramfs_disksize_bytes", quoted, r',disk="x\"\\y"'] == 0
    check(page)


def test_pages(zramfs, exporter):
    ours = exporter(zramfs().point)
    status, headers, body = fetch(ours.url)
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert int(headers["Content-Length"]) == len(body.encode())
    head = fetch(ours.url, "HEAD")
    assert (head[0], head[2]) == (200, "") and head[1]["Content-Type"] == headers["Content-Type"]
    assert fetch(ours.url + "?x=y")[0] == 200
    assert fetch(ours.url + "/x")[0] == 404
    assert fetch(ours.url.replace("/metrics", "/../etc/passwd"))[0] == 404
    root = fetch(ours.url.replace("/metrics", "/"))
    assert root[0] == 200 and "metrics" in root[2]
    assert fetch(ours.url, "POST")[0] == 501


def test_many_at_once(zramfs, exporter):
    """100 scrapes and somebody who connects and says nothing: all are answered, and shared."""
    ours = exporter(*[zramfs().point for _ in range(3)])
    with socket.create_connection(("127.0.0.1", ours.port)):
        with concurrent.futures.ThreadPoolExecutor(100) as many:
            pages = list(many.map(lambda _: fetch(ours.url), range(100)))
    assert all(status == 200 and sum(ups(page).values()) == 3 for status, _, page in pages)


def test_clients_that_say_nothing(zramfs, exporter):
    """However many there are, it keeps descriptors for who is to be asked."""
    ours = exporter(zramfs().point)
    idle = [socket.create_connection(("127.0.0.1", ours.port)) for _ in range(400)]
    try:
        idle[-1].settimeout(10)
        assert idle[-1].recv(1) == b""  # it was hung up on
        assert len(os.listdir(f"/proc/{ours.process.pid}/fd")) < 300
    finally:
        for one in idle:
            one.close()
    wait_until(lambda: len(os.listdir(f"/proc/{ours.process.pid}/fd")) < 40, what="room")
    assert sum(ups(ours.page()).values()) == 1


def children(pid):
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and
            (path := f"/proc/{entry}/stat") and os.path.exists(path) and
            open(path).read().rpartition(") ")[2].split()[1] == str(pid)]


@pytest.mark.root
def test_a_mount_that_hangs(zramfs, exporter):
    """It is down, the others are not; it costs its time once, and not a process each scrape."""
    good, bad = zramfs(), zramfs("[zramfs]\nwatchdog = 0\n[disk0]\ndisksize = 8M\n")
    ours = exporter("--timeout", "1", good.point, bad.point)
    assert ups(ours.page()) == {str(good.point): 1, str(bad.point): 1}
    stopped = [pid for pid in bad.pids() if pid != ours.process.pid]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(4):
            found = ups(ours.page())
            assert found == {str(good.point): 1, str(bad.point): 0}
        assert len(children(ours.process.pid)) == 1
        began = time.monotonic()
        ours.page()
        assert time.monotonic() - began < 0.9  # it is known, nobody waits for it again
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: ups(ours.page())[str(bad.point)] == 1, what="it to be back")
    assert children(ours.process.pid) == []
    assert ours.said().count("does not answer") == 1


@pytest.fixture
def person(place):
    """An ordinary user who may use /dev/fuse."""
    if os.geteuid() != 0 or lacking("setpriv"):
        pytest.skip("needs root and setpriv, to be somebody else")
    home = place / "home"
    (home / "bin").mkdir(parents=True)
    someone = User(65534, home)
    run("cp", BINARY, someone.binary)
    run("cp", EXPORTER, home / "bin")
    os.chown(home, 65534, 65534)
    alone = Alone("fuse")
    mode = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
    os.chmod("/dev/fuse", 0o666)
    yield someone
    os.chmod("/dev/fuse", mode)
    alone.release()


def test_mounts_of_others(zramfs, exporter, person):
    """Root asks no user's mount unless it is named, and then may not read it: it is down, with the
    reason. Root's own can be read by everyone, and by a service with no rights, too."""
    own, others = zramfs(), zramfs(user=person)
    found = ups(exporter().page())
    assert str(own.point) in found and str(others.point) not in found
    named = exporter(own.point, others.point)
    assert ups(named.page()) == {str(own.point): 1, str(others.point): 0}
    assert "Permission denied" in named.said()
    theirs = exporter(prefix=person.prefix(), program=person.home / "bin/zramfs-exporter")
    found = ups(theirs.page())
    assert found[str(own.point)] == 1 and found[str(others.point)] == 1


def test_a_mount_that_pretends_to_be_of_root(exporter, person, place):
    """Its source is what its user says: white space in it makes no option of it."""
    (place / "own").mkdir()
    theirs = Zramfs(place / "own", "[disk0]\ndisksize = 8M\n", "-o", "fsname=x\r\\,user_id=0",
                    user=person).start()
    try:
        assert mounts()[str(theirs.point)]
        assert str(theirs.point) not in ups(exporter().page())
        # Nor does zramfsctl, with which root lists, and upgrades, all that are root's.
        done = run(CTL, check=False)
        assert str(theirs.point) not in done.stdout + done.stderr
    finally:
        theirs.stop()


def test_print(zramfs, place):
    mount = zramfs()
    done = run(EXPORTER, "--print", mount.point, place / "nothing")
    assert ups(done.stdout) == {str(mount.point): 1, str(place / "nothing"): 0}
    check(done.stdout)


@pytest.mark.parametrize("listen, why", [
    ("nonsense", "is no ADDRESS:PORT"), ("127.0.0.1:99999", "is no ADDRESS:PORT"),
    (":9842", "is no ADDRESS:PORT"), ("[]:9842", "is no ADDRESS:PORT"),
    ("192.0.2.1:9842", "cannot listen on 192.0.2.1:9842"), (None, "Address already in use")])
def test_refused(listen, why):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = listen or f"127.0.0.1:{taken.getsockname()[1]}"
        done = run(EXPORTER, "--listen", listen, check=False)
    assert done.returncode != 0 and why in done.stderr and "Traceback" not in done.stderr


# The textfile way


@pytest.mark.needs("prometheus-node-exporter")
def test_node_exporter_reads_it(zramfs, place):
    mount = zramfs("[disk0]\ndisksize = 8M\n")
    directory = place / "collector"
    directory.mkdir()
    run(TEXTFILE, directory, mount.point)
    port = free_port()
    with (place / "node.log").open("wb") as log:
        node = subprocess.Popen(
            ["prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
             f"--collector.textfile.directory={directory}", f"--web.listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True)
    try:
        def page():
            try:
                return fetch(f"http://127.0.0.1:{port}/metrics")[2]
            except OSError:
                return None

        text = wait_until(page, what="node_exporter")
        assert "node_textfile_scrape_error 0" in text
        assert re.search(rf'^zramfs_disksize_bytes{{disk="disk0",mount="{mount.point}"}} '
                         r"8.388608e\+06$", text, re.M)
        assert f'zramfs_up{{mount="{mount.point}"}} 1' in text
    finally:
        node.terminate()
        node.wait(timeout=10)


def test_the_file_is_replaced_whole(zramfs, place):
    """Who looks all the time never sees a part, or a file that is left."""
    mount = zramfs("".join(f"[disk{i}]\ndisksize = 1M\n" for i in range(20)))
    directory = place / "collector"
    directory.mkdir()
    run(TEXTFILE, directory, mount.point)
    file = directory / "zramfs.prom"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    last = file.read_text().splitlines()[-1].rpartition(" ")[0]
    for _ in range(3):
        writer = subprocess.Popen([str(TEXTFILE), str(directory), str(mount.point)])
        while writer.poll() is None:
            assert file.read_text().splitlines()[-1].startswith(last)
            assert [name for name in os.listdir(directory) if name.endswith(".prom")] == [file.name]
        assert writer.returncode == 0
    assert os.listdir(directory) == [file.name]


@pytest.mark.needs("strace")
@pytest.mark.root
def test_the_file_is_opened_once(zramfs, place):
    """Its directory may be another's, who puts a link there between two looks of root's."""
    directory = place / "collector"
    directory.mkdir()
    run("strace", "-f", "-qq", "-o", place / "trace", "-e", "trace=%file",
        TEXTFILE, directory, zramfs().point)
    touched = [line for line in (place / "trace").read_text().splitlines()
               if f"{directory}/.zramfs." in line and not re.search(r"\b(stat|lstat|newfstatat|access)", line)]
    assert len([line for line in touched if "open" in line]) == 1
    assert "O_EXCL" in touched[0] and not [line for line in touched if "chmod" in line]
    assert stat.S_IMODE((directory / "zramfs.prom").stat().st_mode) == 0o644


def test_no_directory(place):
    done = run(TEXTFILE, place / "nothing", check=False)
    assert done.returncode == 1 and "prometheus-node-exporter" in done.stderr
    assert done.stderr.count("\n") == 1
    assert run(TEXTFILE, "-x", check=False).returncode == 2
    assert "usage: zramfs-textfile" in run(TEXTFILE, "--help").stdout


@pytest.mark.needs("systemd-analyze")
def test_units(place):
    """As they are installed: beside the programs that they start."""
    for unit in sorted(CONTRIB.glob("*.service")):
        text = unit.read_text()
        program = re.search(r"^ExecStart=(\S+)", text, re.M)[1]
        assert (CONTRIB / program).exists()
        (place / unit.name).write_text(text.replace(f"={program}", f"={CONTRIB / program}")
                                       .replace("Documentation=man:zramfs(8)\n", ""))
    for timer in CONTRIB.glob("*.timer"):
        (place / timer.name).write_text(timer.read_text())
    units = sorted([*place.glob("*.service"), *place.glob("*.timer")])
    assert len(units) == 3
    done = run("systemd-analyze", "verify", "--man=no", *units)
    assert done.stdout + done.stderr == ""


def test_nothing_is_left(place):
    """The last test: no mount of these is there any more."""
    assert not [point for point in mounts() if "zramfs-recipes-" in point and str(os.getpid()) in
                point]
