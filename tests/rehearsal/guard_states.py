# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a project leave Always Free, made by Google's own clients, and taken away again."""

from __future__ import annotations

import json

from tests.rehearsal.conftest import Rehearsal

# `vm` creates a VM as anybody may, outside of the playbooks: 10 GB, no service account.
PROLOGUE = """
import google.auth, time
from google.auth.transport.requests import AuthorizedSession
from google.cloud import compute_v1 as c, storage
P, Z = "fanops-rehearsal", "us-central1-a"
session = AuthorizedSession(google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])[0])
session.post(f"https://serviceusage.googleapis.com/v1/projects/{P}/services:batchEnable",
             json={"serviceIds": ["compute.googleapis.com", "storage.googleapis.com"]}).raise_for_status()
def vm(name, zone=Z, spot=False, address=True, keep_disk=False, size=10):
    disk = c.AttachedDisk(boot=True, auto_delete=not keep_disk, initialize_params=c.AttachedDiskInitializeParams(
        source_image="projects/debian-cloud/global/images/family/debian-11", disk_size_gb=size,
        disk_type=f"zones/{zone}/diskTypes/pd-standard"))
    config = [c.AccessConfig(type_="ONE_TO_ONE_NAT", name="External NAT")] if address else []
    scheduling = c.Scheduling(preemptible=True, automatic_restart=False, on_host_maintenance="TERMINATE") if spot else None
    c.InstancesClient().insert(project=P, zone=zone, instance_resource=c.Instance(
        name=name, machine_type=f"zones/{zone}/machineTypes/e2-micro", disks=[disk], scheduling=scheduling,
        network_interfaces=[c.NetworkInterface(network="global/networks/default", access_configs=config)])).result()
def delete(name, zone=Z):
    c.InstancesClient().delete(project=P, zone=zone, instance=name).result()
"""

# Everything that a state below can leave behind, whichever of them was made. It asks for what exists, so it may run at any time.
SWEEP = """
for scope, found in c.InstancesClient().aggregated_list(project=P):
    for one in found.instances:
        c.InstancesClient().delete(project=P, zone=one.zone.rsplit("/", 1)[-1], instance=one.name).result()
for scope, found in c.DisksClient().aggregated_list(project=P):
    for one in found.disks:
        c.DisksClient().delete(project=P, zone=one.zone.rsplit("/", 1)[-1], disk=one.name).result()
for scope, found in c.AddressesClient().aggregated_list(project=P):
    for one in found.addresses:
        c.AddressesClient().delete(project=P, region=one.region.rsplit("/", 1)[-1], address=one.name).result()
"""


def google(cloud: Rehearsal, program: str) -> str:
    """Run a program with Google's clients against the project, as its owner; return what it printed."""
    owner = json.loads(cloud.rehearsal("env", "--identity", "owner", "--output", "json").output)
    # People's credentials name a quota project, which may be another one: it is this project's APIs that are to answer.
    outcome = cloud.run("python", "-c", PROLOGUE + program, **owner, GOOGLE_CLOUD_QUOTA_PROJECT="fanops-rehearsal")
    assert outcome.code == 0, outcome.output
    return outcome.output
