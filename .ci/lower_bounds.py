"""Print constraints that pin every requirement of pyproject.toml to its lower bound.

pip install -c <(python .ci/lower_bounds.py) -e ".[test]"
"""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
for requirement in sorted({*project["dependencies"], *extras["test"]}):
    name, bound = re.match(r"([\w.-]+)>=([\w.]+)", requirement).groups()
    print(f"{name}=={bound}")
