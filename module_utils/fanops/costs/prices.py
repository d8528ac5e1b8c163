# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's prices and free quantities, from pricing/google_cloud.yml. Pure: the file's content comes in, no file is read.

Money is ``Decimal`` US dollars. What is shown is rounded to the cent line by line, and sums are sums of what is shown.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from ansible.module_utils.fanops.core.spending import Rates

Money = Decimal
ZERO = Decimal(0)
GIB_IN_MIB = 1024
#: What a price is called that the file does not have.
UNLISTED = "a price that is not in the price file"


def cents(amount: Money) -> Money:
    """Rounded to the cent, half up."""
    return amount.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def dollars(amount: Money | None) -> str:
    """A dollar sign, dollars and cents; words for a price that is not known."""
    return UNLISTED if amount is None else f"${cents(amount)}"


def region_of(zone: str) -> str:
    """``us-central1`` for ``us-central1-a``, and for itself."""
    return re.sub(r"-[a-z]$", "", zone.lower())


class Prices:
    """The price file. ``document`` is its content as YAML gives it; ValueError names what is missing or no number."""

    def __init__(self, document: Any) -> None:
        self._root = document if isinstance(document, dict) else {}
        self.as_of = str(self._at("as_of"))
        self.month = self.number("hours_per_month")
        free = self._at("always_free")
        self.free_machine_type = str(self._at("always_free", "machine_type"))
        self.free_regions = tuple(str(region) for region in self._at("always_free", "regions"))
        self.free_disk_type = str(self._at("always_free", "disk_type"))
        self.free_disk_gib = self.number("always_free", "disk_gib")
        self.free_bucket_gb = self.number("always_free", "bucket_gb")
        self.free_quantities: dict[str, Any] = {key: value for key, value in free.items() if key != "source"}
        self.free_images_gib = self.number("always_free", "registry_gib")
        self.machine_types: dict[str, dict[str, Any]] = dict(self._at("machine_types"))
        self.sources: dict[str, dict[str, str]] = dict(self._at("sources"))
        self.ip_in_use = self.number("external_ipv4", "in_use_hour")
        self.ip_unattached = self.number("external_ipv4", "reserved_unattached_hour")
        #: The same for the sums of a month, which the VM adds up as well.
        self.rates = Rates.of(self._root)

    # -- reading the file ------------------------------------------------------------------------------------------

    def _at(self, *path: Any) -> Any:
        found: Any = self._root
        for key in path:
            if not isinstance(found, dict) or key not in found:
                raise ValueError(f"the price file has no {'.'.join(str(part) for part in path)}")
            found = found[key]
        return found

    def number(self, *path: Any) -> Money:
        """The number at that path, exactly as it is written."""
        value = self._at(*path)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{'.'.join(str(part) for part in path)} in the price file is no number: {value!r}")
        return Decimal(str(value))

    # -- unit prices -----------------------------------------------------------------------------------------------

    def vm_hour(self, machine_type: str) -> Money | None:
        """Dollars an hour; None for a type that is not listed."""
        return self.number("machine_types", machine_type, "hour") if machine_type in self.machine_types else None

    def vm_month(self, machine_type: str, hours: Money | None = None) -> Money | None:
        """Dollars for ``hours`` (a whole month without)."""
        hour = self.vm_hour(machine_type)
        return None if hour is None else hour * (self.month if hours is None else hours)

    def disk_month(self, disk_type: str, gib: Money | int) -> Money | None:
        """Dollars a month for a disk of that size; None for a type that is not listed."""
        if disk_type not in self._at("disk_types"):
            return None
        return self.number("disk_types", disk_type, "gib_month") * gib

    def bucket_month(self, storage_class: str, gb: Money | int) -> Money | None:
        """Dollars a month for so many GB; None for a class that is not listed."""
        if storage_class not in self._at("bucket", "gb_month"):
            return None
        return self.number("bucket", "gb_month", storage_class) * gb

    def images_month(self, gib: Money) -> Money:
        """Dollars a month for so many GiB of images, at list price."""
        return self.number("registry", "gib_month") * gib

    def images_note(self, gib: Money) -> str:
        """What the images of deployments cost, in words."""
        cost = dollars(self.images_month(max(ZERO, gib - self.free_images_gib)))
        return f"images of deployments {gib:.2f} GiB, {cost} a month beyond the free {self.free_images_gib.normalize():f} GiB"

    def warm_function_month(self, instances: int, vcpus: float, mib: int) -> Money:
        """Dollars a month for instances that are kept warm and answer nothing."""
        second = Decimal(str(vcpus)) * self.number("function", "idle_vcpu_second")
        second += Decimal(mib) / GIB_IN_MIB * self.number("function", "idle_gib_second")
        return instances * self.month * 3600 * second

    def busy_function_month(self, instances: int, vcpus: float, mib: int) -> Money:
        """Dollars a month, less the free quantities, if so many instances answered around the clock; without the requests' price."""
        seconds = instances * self.month * 3600
        vcpu_seconds = max(ZERO, seconds * Decimal(str(vcpus)) - self.number("always_free", "function_vcpu_seconds"))
        gib_seconds = seconds * Decimal(mib) / GIB_IN_MIB - self.number("always_free", "function_gib_seconds")
        cost = vcpu_seconds * self.number("function", "vcpu_second")
        return cost + max(ZERO, gib_seconds) * self.number("function", "gib_second")

    def function_ceiling(self, instances: int, vcpus: float, mib: int) -> str:
        """The most that the function can cost a month, in words."""
        return (
            f"at most {dollars(self.busy_function_month(instances, vcpus, mib))} a month, if all {instances} instances answered "
            f"around the clock, and {dollars(self.number('function', 'request_million'))} a million requests beyond the free ones"
        )

    # -- Always Free -----------------------------------------------------------------------------------------------

    def free_region(self, zone_or_region: str) -> bool:
        """Whether VM, disk and bucket are free there."""
        return region_of(zone_or_region) in self.free_regions

    def free_vm(self, machine_type: str, zone: str, spot: bool) -> bool:
        """Whether the hours of such a VM count as free ones."""
        return machine_type == self.free_machine_type and self.free_region(zone) and not spot

    def free_disk(self, disk_type: str, zone: str) -> bool:
        """Whether the space of such a disk counts as free."""
        return disk_type == self.free_disk_type and self.free_region(zone)

    @property
    def ipv4_note(self) -> str:
        """What has to be said of the external address whenever costs are spoken of."""
        return (
            f"An external IPv4 address has a list price of ${self.ip_in_use.normalize():f} an hour while the VM runs "
            f"({dollars(self.ip_in_use * self.month)} for a whole month); whether Always Free covers it is contested, "
            f"so count on it."
        )
