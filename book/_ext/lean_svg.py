"""An SVG drawing in fewer bytes that looks the same.

Matplotlib writes six digits, a line for each point, a name for each group and the same
style at every mark. A hundredth of a point is enough, and a style that recurs becomes a
class, whose name belongs to the drawing: several may stand in one page.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from xml.etree import ElementTree

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)
NUMBERS = ("d", "x", "y", "width", "height", "points", "transform", "viewBox")
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")
FONTS = "'DejaVu Sans',Verdana,sans-serif"  # as wide as what Matplotlib measured
OFTEN = 3  # times that a style recurs before it becomes a class


def lean(svg: str, name: str) -> str:
    """The drawing made lean; ``name`` tells its classes from those of others."""
    used = set(re.findall(r"#([\w-]+)", svg))
    root = ElementTree.fromstring(svg[svg.index("<svg") :])
    for parent in root.iter():
        for child in parent.findall(f"{{{SVG}}}metadata"):
            parent.remove(child)
    for node in root.iter():
        tidy(node, used)
    unwrap(root)
    with_classes(root, "s" + hashlib.sha256(name.encode()).hexdigest()[:6])
    return ElementTree.tostring(root, encoding="unicode")


def tidy(node: ElementTree.Element, used: set[str]) -> None:
    """Leave out spaces between tags, names that nothing refers to, and digits."""
    node.tail = None
    if node.text is not None and not node.text.strip():
        node.text = None
    elif node.tag == f"{{{SVG}}}text":
        node.text = re.sub(r"(?<=\w)'", "’", node.text or "") or None
    if node.get("id") not in used:
        node.attrib.pop("id", None)
    for key in NUMBERS:
        if value := node.get(key):
            node.set(key, NUMBER.sub(lambda m: short(float(m[0])), value).strip())
    if path := node.get("d"):
        node.set("d", re.sub(r"\s*([A-Za-z])\s*", r"\1", path))
    if style := node.get("style"):
        style = re.sub(r"font-family:[^;]*", f"font-family:{FONTS}", style)
        node.set("style", re.sub(r"\s*([:;])\s*", r"\1", style).strip(";"))
    if (link := node.get(f"{{{XLINK}}}href")) and link.startswith("data:"):
        node.set(f"{{{XLINK}}}href", "".join(link.split()))


def short(value: float) -> str:
    """Two decimals, of small numbers three digits; no zeros at the end."""
    if abs(value) < 1:
        return f"{value:.3g}" if abs(value) >= 5e-3 else "0"
    return f"{value:.2f}".rstrip("0").rstrip(".")


def unwrap(node: ElementTree.Element) -> None:
    """Put the content of groups that say nothing in their place."""
    for i, child in reversed(list(enumerate(node))):
        unwrap(child)
        if child.tag == f"{{{SVG}}}g" and not child.attrib:
            node[i : i + 1] = list(child)


def with_classes(root: ElementTree.Element, prefix: str) -> None:
    """Styles that recur as classes of one style sheet."""
    counted = Counter(node.get("style") for node in root.iter() if node.get("style"))
    often = [style for style, n in counted.most_common() if n >= OFTEN]
    names = {style: f"{prefix}{i}" for i, style in enumerate(often)}
    for node in root.iter():
        if (style := node.get("style")) in names:
            del node.attrib["style"]
            node.set("class", " ".join(filter(None, [node.get("class"), names[style]])))
    if names:
        sheet = ElementTree.Element(f"{{{SVG}}}style")
        sheet.text = "".join(f".{name}{{{style}}}" for style, name in names.items())
        root.insert(0, sheet)
