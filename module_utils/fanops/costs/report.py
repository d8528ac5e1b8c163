# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of playbooks/show_costs.yml: as data, and as tables for a terminal. Pure."""

from __future__ import annotations

import textwrap
from datetime import datetime
from decimal import Decimal
from typing import Any

from ansible.module_utils.fanops.costs.ledger import Run
from ansible.module_utils.fanops.costs.monthly import month_hours, monthly
from ansible.module_utils.fanops.costs.prices import ZERO, Prices, cents
from ansible.module_utils.fanops.costs.project_inventory import Holdings, Wanted
from ansible.module_utils.fanops.costs.schedule import schedule_cost

#: Columns of a terminal that everything but a long resource name fits into.
WIDTH = 100
CEILING_REMEDY = (
    "A lower function_max_instances lowers that; a budget's alert tells of it, but Google stops nothing by itself."
)
#: What a table shows for a price that is not known.
UNKNOWN = "?"


def report(
    wanted: Wanted, found: Holdings, prices: Prices, hours_per_week: Decimal, history: list[Run], now: datetime
) -> dict[str, Any]:
    """Everything as plain data. Amounts are dollars; "with_free" has Always Free taken off."""
    hours = month_hours(hours_per_week, prices)
    ledger = [run.facts(now, prices) for run in history]
    return {
        "as_of": prices.as_of,
        "machine_types": [_machine(name, prices) for name in prices.machine_types],
        "hours_per_week": float(hours_per_week),
        "hours_per_month": float(cents(hours)),
        "months": {
            "always_on": monthly(wanted, found, prices, prices.month).facts(),
            "estimate": monthly(wanted, found, prices, hours).facts(),
            "stopped": monthly(wanted, found, prices, ZERO, everything_off=True).facts(),
        },
        "function_ceiling": prices.function_ceiling(
            wanted.function_max_instances, wanted.function_cpu, wanted.function_memory_mib
        ),
        "schedule": schedule_cost(wanted, prices),
        "always_free": prices.free_quantities,
        "runs": ledger,
        "runs_total": {
            "hours": round(sum(run["hours"] for run in ledger), 4),
            "vm": round(sum(run["vm"] or 0.0 for run in ledger), 2),
            "external_ipv4": round(sum(run["external_ipv4"] for run in ledger), 2),
        },
        "external_ipv4": prices.ipv4_note,
        "sources": prices.sources,
        "placed": wanted.zone,
    }


def summary(data: dict[str, Any]) -> str:
    """The report in one line."""
    months, past = data["months"], data["runs_total"]
    return (
        f"{past['hours']:.2f} h of runs that Google remembers: ${past['vm']:.2f}, and ${past['external_ipv4']:.2f} for their "
        f"IPv4 (contested), at list price; a month at {data['hours_per_week']:g} h/week ${months['estimate']['with_free']:.2f} "
        f"with Always Free, ${months['estimate']['list']:.2f} without; all stopped ${months['stopped']['with_free']:.2f}"
    )


def lines(data: dict[str, Any]) -> list[str]:
    """The report as tables, for a terminal of 100 columns."""
    months = data["months"]
    return [
        f"Prices as of {data['as_of']}: US dollars, on demand, us-central1, before taxes. An estimate, not a bill.",
        "",
        "MACHINE TYPES",
        *table(
            ["type", "vCPU", "RAM GiB", "$/hour", "$/month", "Always Free"],
            [
                [
                    row["type"],
                    f"{row['vcpus']}{' shared' if row['shared'] else ''}",
                    f"{row['memory_gib']}",
                    f"{row['hour']:.6f}",
                    f"{row['month']:.2f}",
                    "yes, one" if row["free"] else "no",
                ]
                for row in data["machine_types"]
            ],
        ),
        "",
        f"THIS CONFIGURATION, dollars a month (VM in {data['placed']}): list price / with Always Free",
        *_months(months, f"{data['hours_per_week']:g} h/week"),
        "",
        f"When everything is stopped, ${months['stopped']['with_free']:.2f} a month is left with Always Free, "
        f"${months['stopped']['list']:.2f} without.",
        *textwrap.wrap(f"The function: {data['function_ceiling']}. {CEILING_REMEDY}", WIDTH),
        *([f"The schedule: {data['schedule']['text']}; Google takes nothing for it."] if data["schedule"] else []),
        *textwrap.wrap(f"This month, {data['ceiling']['text']}.", WIDTH),
        *textwrap.wrap(data["external_ipv4"], WIDTH),
        *(
            []
            if all(month["complete"] for month in months.values())
            else [f"{UNKNOWN}: the price file does not list it."]
        ),
        "",
        "RUNS, from Google's operations (it remembers about two weeks), dollars at list price",
        *_runs(data),
        "",
        "Sources:",
        *(f"  {name}: {source['url']} (read {source['read']})" for name, source in data["sources"].items()),
    ]


def table(header: list[str], rows: list[list[str]], left: tuple[int, ...] = (0,)) -> list[str]:
    """Columns as wide as they need to be; those named in ``left`` are aligned to the left, figures to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(row: list[str]) -> str:
        cells = zip(row, widths, strict=True)
        aligned = [cell.ljust(width) if at in left else cell.rjust(width) for at, (cell, width) in enumerate(cells)]
        return "  ".join(aligned).rstrip()

    return [line(header), line(["-" * width for width in widths]), *map(line, rows)]


def _machine(name: str, prices: Prices) -> dict[str, Any]:
    facts = prices.machine_types[name]
    return {
        "type": name,
        "vcpus": facts["vcpus"],
        "shared": facts["billed_vcpus"] < facts["vcpus"],
        "memory_gib": facts["memory_gib"],
        "hour": float(prices.number("machine_types", name, "hour")),
        "month": float(cents(prices.vm_month(name) or ZERO)),
        "free": name == prices.free_machine_type,
    }


def _months(months: dict[str, dict[str, Any]], estimate: str) -> list[str]:
    shown = {"always on": months["always_on"], estimate: months["estimate"], "all stopped": months["stopped"]}
    items = list(dict.fromkeys(line["item"] for month in shown.values() for line in month["lines"]))
    rows = [[item, *(_line(month, item) for month in shown.values())] for item in items]
    rows.append(["Total", *(f"{month['list']:.2f} / {month['with_free']:.2f}" for month in shown.values())])
    return table(["item", *shown], rows)


def _line(month: dict[str, Any], item: str) -> str:
    same = [line for line in month["lines"] if line["item"] == item]
    if not same:
        return "-"
    if any(line["list"] is None for line in same):
        return UNKNOWN
    return f"{sum(line['list'] for line in same):.2f} / {sum(line['with_free'] for line in same):.2f}"


def _runs(data: dict[str, Any]) -> list[str]:
    if not data["runs"]:
        return ["none"]
    rows = [
        [
            _moment(run["began"]),
            _moment(run["ended"]) if run["ended"] else "still running",
            f"{run['hours']:.2f}",
            run["machine_type"] + ("" if run["machine_type_certain"] else " (?)"),
            run["ended_by"] or "-",
            UNKNOWN if run["vm"] is None else f"{run['vm']:.2f}",
            f"{run['external_ipv4']:.2f}",
        ]
        for run in data["runs"]
    ]
    total = data["runs_total"]
    rows.append(["Total", "", f"{total['hours']:.2f}", "", "", f"{total['vm']:.2f}", f"{total['external_ipv4']:.2f}"])
    shown = table(["began (UTC)", "ended (UTC)", "hours", "type", "ended by", "VM", "IPv4"], rows, left=(0, 1, 3, 4))
    if not all(run["machine_type_certain"] for run in data["runs"]):
        shown.append("(?) the type may have been another one then; operations do not tell.")
    return shown


def _moment(text: str) -> str:
    return text.replace("T", " ").removesuffix("Z")
