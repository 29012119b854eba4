"""All else is in pyproject.toml. A wheel carries the data that `simlib` reads; a checkout has it once, in `data`."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DATA = (
    "README.md",  # sources and licences of the others
    "BurstGPT_sample.csv",
    "azure_conversations.csv",
    "burstgpt_population.json",
    "latency_presets.csv",
    "original_claims.csv",
    "results/batch_times_residuals_fit.csv",
    "results/engines_presets.csv",
)


class WithData(build_py):
    """Modules, and the data beside them."""

    def run(self) -> None:
        super().run()
        for name in () if self.editable_mode else DATA:
            file = Path(self.build_lib, "simlib", "data", name)
            file.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(f"data/{name}", str(file))


setup(cmdclass={"build_py": WithData})
