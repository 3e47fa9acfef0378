"""Holds manifests from standard input against Kubernetes' schemas, strictly, and the operator of Prometheus' own; and what they
select against the job's pod."""
import os
import sys

import jsonschema
import kubernetes_validate
import yaml

crd = yaml.safe_load(open(os.path.join(os.path.dirname(sys.executable), "../podmonitors.yaml")))
versions = {v["name"]: v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"]}
manifests = list(yaml.safe_load_all(sys.stdin))
for manifest in manifests:
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    if kind == "PodMonitor":
        jsonschema.validate(manifest, versions[manifest["apiVersion"].split("/")[1]])
    else:
        kubernetes_validate.validate(manifest, "1.34", strict=True)
    print(f"{kind}/{name}")

specs = {m["kind"]: m["spec"] for m in manifests if "spec" in m}
pod = specs["StatefulSet"]["template"]["metadata"]["labels"]
selected = {
    "StatefulSet": specs["StatefulSet"]["selector"]["matchLabels"],
    "Service": specs["Service"]["selector"],
    "NetworkPolicy": specs["NetworkPolicy"]["podSelector"]["matchLabels"],
}
if "PodMonitor" in specs:
    selected["PodMonitor"] = specs["PodMonitor"]["selector"]["matchLabels"]
for kind, labels in selected.items():
    assert labels == pod, f"{kind} selects {labels}, the pod has {pod}"
for rule in specs["NetworkPolicy"]["egress"]:
    for peer in rule["to"]:
        labels = peer.get("podSelector", {}).get("matchLabels", {})
        assert not labels.keys() & pod.keys(), f"others' pods are told by the job's own labels: {labels}"
