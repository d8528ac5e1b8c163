# SPDX-License-Identifier: GPL-3.0-or-later
"""The module reference, docs/modules/, from what the modules document. `make docs` writes it; a contract test keeps it equal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
from antsibull_docs_parser import dom, md
from antsibull_docs_parser.parser import Context, parse

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs/modules"
WRITTEN = "<!-- Written by `make docs` from the module's DOCUMENTATION. -->"
PAGE = """\
{{ written }}
# {{ name }}

{{ doc.short_description | text }}.

{% for line in doc.description %}
* {{ line | text }}
{% endfor %}

## Options
{% macro rows(options, above) %}
{% for option, entry in options | dictsort %}
| `{{ above }}{{ option }}` | {{ entry.type | default("str") }}{{ " of " ~ entry.elements if entry.elements }}\
{{ ", required" if entry.required }} | \
{{ "`" ~ (entry.default | tojson) ~ "`" if entry.default is defined and entry.default is not none }} | {{ entry.description | cell }}\
{{ " One of " ~ (entry.choices | map("tojson") | map("code") | join(", ")) ~ "." if entry.choices }} |
{{ rows(entry.suboptions, above ~ option ~ ".") if entry.suboptions }}\
{% endfor %}
{% endmacro %}
{% macro values(options, above) %}
{% for option, entry in options | dictsort %}
| `{{ above }}{{ option }}` | {{ entry.type }} | {{ entry.returned | default("") }} | {{ entry.description | cell }} |
{{ values(entry.contains, above ~ option ~ ".") if entry.contains }}\
{% endfor %}
{% endmacro %}

| Option | Type | Default | Meaning |
| --- | --- | --- | --- |
{{ rows(doc.options, "") }}
## Check mode and diff

| Mode | Support | |
| --- | --- | --- |
{% for mode, entry in doc.attributes | dictsort %}
| {{ mode }} | {{ entry.support }} | {{ entry.description | cell }} |
{% endfor %}

## Examples

```yaml
{{ examples | trim }}
```

## Returns

| Value | Type | Returned | Meaning |
| --- | --- | --- | --- |
{{ values(returned, "") }}
{% for note in doc.notes %}
* {{ note | text }}
{% endfor %}
"""


def text(value: str | list[str]) -> str:
    """Return Ansible's markup (C(…), O(…), V(…)) as Markdown."""
    lines = [value] if isinstance(value, str) else value
    return " ".join("".join(_part(part) for part in paragraph) for paragraph in parse(lines, Context()))


def _part(part: dom.AnyPart) -> str:
    if isinstance(part, (dom.OptionNamePart, dom.ReturnValuePart)):
        return f"`{part.name}{'=' + part.value if part.value is not None else ''}`"
    if isinstance(part, dom.OptionValuePart):
        return f"`{part.value}`"
    if isinstance(part, dom.EnvVariablePart):
        return f"`{part.name}`"
    if isinstance(part, dom.CodePart):
        return f"`{part.text}`"
    return part.text if isinstance(part, dom.TextPart) else md.to_md([[part]]).strip()


def pages() -> dict[str, str]:
    """Return each page of the reference by file name, README.md among them."""
    names = sorted(path.stem for path in (ROOT / "library").glob("*.py"))
    command = [str(Path(sys.executable).parent / "ansible-doc"), "--json", "--type", "module", *names]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    )
    environment = jinja2.Environment(trim_blocks=True, autoescape=False, keep_trailing_newline=True)
    environment.filters |= {
        "text": text,
        "cell": lambda value: text(value).replace("|", "\\|").replace("\n", " "),
        "code": lambda value: f"`{value}`",
    }
    page = environment.from_string(PAGE)
    written = {
        f"{name}.md": page.render(
            name=name,
            written=WRITTEN,
            doc=found[name]["doc"],
            examples=found[name]["examples"],
            returned=found[name]["return"] or {},
        ).rstrip()
        + "\n"
        for name in names
    }
    rows = "\n".join(f"| [{name}]({name}.md) | {text(found[name]['doc']['short_description'])} |" for name in names)
    head = "# Modules\n\nWhat playbooks and roles call; `ansible-doc -t module NAME` shows the same."
    return written | {"README.md": f"{WRITTEN}\n{head}\n\n| Module | What it does |\n| --- | --- |\n{rows}\n"}


def main() -> None:
    """Write the reference, and remove pages of modules that are gone."""
    FOLDER.mkdir(exist_ok=True)
    written = pages()
    for name, page in written.items():
        (FOLDER / name).write_text(page, encoding="utf-8")
    for path in FOLDER.glob("*.md"):
        if path.name not in written:
            path.unlink()


if __name__ == "__main__":
    main()
