# SPDX-License-Identifier: GPL-3.0-or-later
"""Importing this module registers every handler."""

import rehearsal.services.artifactregistry.api
import rehearsal.services.compute.access_configs
import rehearsal.services.compute.addresses
import rehearsal.services.compute.batch
import rehearsal.services.compute.catalogue_methods
import rehearsal.services.compute.changes
import rehearsal.services.compute.disks
import rehearsal.services.compute.firewalls
import rehearsal.services.compute.images
import rehearsal.services.compute.insert
import rehearsal.services.compute.instances
import rehearsal.services.compute.networks
import rehearsal.services.compute.operation_methods
import rehearsal.services.compute.power
import rehearsal.services.compute.projects
import rehearsal.services.compute.resource_policies
import rehearsal.services.functions.api
import rehearsal.services.functions.invoke
import rehearsal.services.functions.operations
import rehearsal.services.functions.uploads
import rehearsal.services.iam.api
import rehearsal.services.iam.credentials_api
import rehearsal.services.iam.federation_api
import rehearsal.services.iam.oauth
import rehearsal.services.iam.roles_api
import rehearsal.services.logging.api
import rehearsal.services.resourcemanager.api
import rehearsal.services.run.api
import rehearsal.services.secretmanager.api
import rehearsal.services.serviceusage.api
import rehearsal.services.small_apis
import rehearsal.services.storage.buckets
import rehearsal.services.storage.objects
import rehearsal.services.storage.xml_api  # noqa: F401
