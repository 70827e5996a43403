"""Write the lock file of the broker that `streamproc broker` starts: every jar with its SHA-256.

Run it to move to another version (``python deploy/kafka/lock.py 4.3.0``), then review the difference: the
checksums are what later downloads are held against.
"""

import hashlib
import json
import sys
import tempfile
import tomllib
from pathlib import Path

import jgo

TARGET = Path(__file__).parents[2] / "streamproc/transports/broker/kafka.lock"
SCALA = "2.13"
SLF4J = "1.7.36"


def main(version: str) -> None:
    """Resolve one version with all it needs and write the lock file."""
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"org.apache.kafka:kafka_{SCALA}:{version}+org.slf4j:slf4j-simple:{SLF4J}"
        environment = jgo.build(endpoint, cache_dir=Path(folder))
        files = {path.name: path for path in environment.all_jars}
        jars = []
        for entry in tomllib.loads(environment.lock_path.read_text())["dependencies"]:
            name = f"{entry['artifactId']}-{entry['version']}.jar"
            content = files[name].read_bytes()
            jars.append(
                {
                    "group": entry["groupId"],
                    "artifact": entry["artifactId"],
                    "version": entry["version"],
                    "bytes": len(content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
            )
    jars.sort(key=lambda jar: (jar["group"], jar["artifact"]))
    TARGET.write_text(json.dumps({"kafka": version, "jars": jars}, indent=1) + "\n")
    size = sum(jar["bytes"] for jar in jars) / 1e6
    print(f"{TARGET.name}: Apache Kafka {version}, {len(jars)} jars, {size:.1f} MB")


if __name__ == "__main__":
    main(sys.argv[1])
