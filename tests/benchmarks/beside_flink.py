"""What the benchmarks that run Flink beside Weir share: Flink itself, what a job says that it took, what it printed."""
import collections
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
WEIR = os.path.abspath(os.environ.get("WEIR", os.path.join(ROOT, "target/release/weir")))
FLINK = os.path.join(ROOT, "target/servers/flink")
# Settings of Flink as tuned.
TUNED = {"pipeline.object-reuse": "true", "rest.port": "0", "table.exec.mini-batch.enabled": "true",
         "table.exec.mini-batch.allow-latency": "1s", "table.exec.mini-batch.size": "20000"}


def install(*folders, factories=()):
    """Flink's jars, and the classes of folders, some of which are factories of tables; gives the command that runs a script."""
    if not os.path.exists(f"{FLINK}/.whole"):
        subprocess.run([sys.executable, "-m", "venv", FLINK], check=True)
        subprocess.run([f"{FLINK}/bin/pip", "install", "-q", "apache-flink==2.3.0"], check=True)
        open(f"{FLINK}/.whole", "w", encoding="utf-8").close()
    if not shutil.which("javac"):
        subprocess.run(["apt-get", "install", "-y", "-q", "default-jdk-headless"], check=True)
    jars = ":".join(glob.glob(f"{FLINK}/lib/python3*/site-packages/pyflink/lib/*.jar"))
    sources = [source for folder in folders for source in glob.glob(f"{folder}/*.java")]
    subprocess.run(["javac", "-nowarn", "-cp", jars, "-d", f"{FLINK}/classes", *sources], check=True)
    services = f"{FLINK}/classes/META-INF/services"
    os.makedirs(services, exist_ok=True)
    with open(f"{services}/org.apache.flink.table.factories.Factory", "w", encoding="utf-8") as f:
        f.writelines(f"{name}\n" for name in factories)
    opens = [f"--add-opens=java.base/java.{p}=ALL-UNNAMED" for p in
             ("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent", "util.concurrent.atomic")]
    return ["java", *opens, f"-Xmx{os.environ.get('FLINK_HEAP', '8g')}", "-cp", f"{FLINK}/classes:{jars}"]


def seconds(said, flink):
    """What a job says that it took."""
    if flink:
        return int(re.search(r"^net (\d+)$", said, re.M)[1]) / 1_000
    done = re.search(r"^done: .*$", said, re.M)[0]
    number, unit = re.search(r", ([0-9.]+)(ms|s),", done).groups()
    return float(number) * (0.001 if unit == "ms" else 1)


def rows(said, columns=None):
    """What the printed changes add up to, of the first columns if there are more."""
    total = collections.Counter()
    for kind, row in re.findall(r"^(?:\d+> )?([+-][IUD])\[(.*)\]$", said, re.M):
        total[", ".join(row.split(", ")[:columns])] += 1 if kind[0] == "+" else -1
    return +total
