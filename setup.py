"""Only what pyproject.toml cannot say: the recipes travel inside the wheel."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildWithRecipes(build_py):
    """Copies recipes/ beside the modules; an editable install reads the checkout's own."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "medpo_cli", "recipes")
            shutil.copytree(HERE / "recipes", target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": BuildWithRecipes})
