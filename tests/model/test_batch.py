import subprocess
import sys


def test_networks_need_not_wait_for_what_reads_and_draws():
    """That takes long to load, which a thread does beside the networks."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys; from cardioseg.model import batch, trained_model; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(loaded.stdout.split())
    assert "torch" in modules
    assert not modules & {"jinja2", "matplotlib", "nibabel", "pandas", "PIL", "pydicom"}
