"""Importing the library changes nothing outside of it: what it needs of a package's state it sets where it needs it."""

import subprocess
import sys

import pytest

# Prints each module of the library by whose import the state of other packages changes, and which; lastly how many
# modules there are. The packages themselves are loaded before.
CHECK = """
import importlib, locale, logging, os, pkgutil, random, signal, sys, warnings

import itkConfig, matplotlib.pyplot, medpy.metric, nibabel, numpy, pandas, pydicom.config, scipy.special, SimpleITK
import torch

import cardioseg

PLAIN = (bool, int, float, str, bytes, tuple, list, dict, set, type(None))


def variables(module):
    return {name: repr(value) for name, value in vars(module).items() if isinstance(value, PLAIN) and name[0] != "_"}


def state():
    return {
        "environment": dict(os.environ),
        "imports": repr((sys.meta_path, sys.path_hooks)),
        "ITK": variables(itkConfig),
        "locale": locale.setlocale(locale.LC_ALL),
        "logging": repr((logging.root.level, logging.root.handlers, logging.raiseExceptions)),
        "matplotlib": repr((dict(matplotlib.rcParams), matplotlib.get_backend())),
        "nibabel": nibabel.imageglobals.logger.level,
        "numpy": repr((numpy.geterr(), numpy.get_printoptions(), numpy.random.get_state())),
        "pandas": pandas.describe_option(_print_desc=False),
        "pydicom": variables(pydicom.config),
        "random": random.getstate(),
        "signals": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
        "SimpleITK": SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads(),
        "torch": (
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.benchmark,
            torch.get_rng_state().tolist(),
        ),
        "warnings": repr(warnings.filters),
    }


before = state()
names = [module.name for module in pkgutil.walk_packages(cardioseg.__path__, "cardioseg.")]
for name in names:
    importlib.import_module(name)
    now = state()
    changed = [package for package in before if before[package] != now[package]]
    if changed:
        print(name, *changed)
    before = now
print(len(names))
"""


@pytest.mark.slow
def test_importing_a_module_changes_no_state_of_other_packages() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=True)
    *changes, modules = done.stdout.splitlines()
    assert int(modules) > 80
    assert changes == []
