"""The table of deviations in docs/recipes.md, from the first lines of the recipes.

``python -m tests.deviations`` writes it anew.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "recipes.md"
BEGIN, END = "<!-- deviations -->\n", "<!-- end of deviations -->\n"


def deviations(path: Path) -> str:
    """Returns what a recipe says of its deviations, and whose recipe it builds on."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    words = " ".join((ast.get_docstring(tree) or "").split())
    said = re.search(r"Deviations?: (.*)", words)
    parents = [
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "configs"
        for alias in node.names
        if alias.name != "base"
    ]
    parts = [said[1].rstrip(".")] if said else []
    parts += [f"those of `{parent}`" for parent in parents]
    text = "; ".join(parts) or "none known"
    return text[0].upper() + text[1:].replace("``", "`") + "."


def table() -> str:
    """Returns the table: a line for each recipe."""
    paths = sorted((ROOT / "configs").glob("[a-z]*.py"))
    rows = [
        "| recipe | what differs from the paper or the authors' files |",
        "|---|---|",
    ]
    rows += [f"| `{p.stem}` | {deviations(p)} |" for p in paths if p.stem != "base"]
    return "\n".join(rows) + "\n"


def page_with(new: str) -> str:
    """Returns the page with this table."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}{new}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page_with(table()), encoding="utf-8")
