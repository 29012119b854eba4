"""The scripts are where pages look for them, and the package stays light without the explorer."""

import subprocess
import sys

from book.explorer.scripts import DRAWING, ON_A_PAGE, SCRIPTS
from book.live.page import WORKER


def test_the_scripts_are_there():
    named = {f"{name}.js" for name in (*DRAWING, *ON_A_PAGE, *WORKER, "kernels", "live", "widget")}
    assert {path.name for path in SCRIPTS.glob("*.js")} == named and (SCRIPTS / "explorer.css").is_file()


def test_the_package_stays_light_without_the_explorer():
    code = "import sys, simlib; simlib.simulate; assert 'anywidget' not in sys.modules and 'IPython' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
