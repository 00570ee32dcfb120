import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cardioseg.core import checkpoints
from cardioseg.core.errors import InputError

CONTENT = {
    "weights": {"layer": torch.arange(6.0).reshape(2, 3)},
    "about": {"settings": {"width": 8, "betas": [0.5, 0.999], "norm": "batch", "source": True, "nothing": None}},
}


def test_saved_content_is_what_is_loaded(tmp_path):
    path = tmp_path / "new" / "folder" / "a.pt"
    checkpoints.save(path, CONTENT)
    loaded = checkpoints.load(path)
    assert loaded["about"] == CONTENT["about"]
    assert torch.equal(loaded["weights"]["layer"], CONTENT["weights"]["layer"])
    assert [file.name for file in path.parent.iterdir()] == ["a.pt"]


def test_layout_and_type_of_tensors_are_kept(tmp_path):
    tensor = torch.randn(2, 3, 4, 5, dtype=torch.float64).to(memory_format=torch.channels_last)
    checkpoints.save(tmp_path / "a.pt", {"tensor": tensor})
    loaded = checkpoints.load(tmp_path / "a.pt")["tensor"]
    assert torch.equal(loaded, tensor)
    assert (loaded.dtype, loaded.stride()) == (tensor.dtype, tensor.stride())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "a.pt"
    checkpoints.save(path, CONTENT)
    return path.read_bytes()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "a.pt"


@given(data=st.data())
def test_truncated_file_is_refused(saved, damaged, data):
    damaged.write_bytes(saved[: data.draw(st.integers(0, len(saved) - 1))])
    with pytest.raises(InputError, match="damaged"):
        checkpoints.load(damaged)


@given(content=st.binary(max_size=40))
def test_other_content_is_refused(damaged, content):
    damaged.write_bytes(content)
    with pytest.raises(InputError, match=str(damaged)):
        checkpoints.load(damaged)


@pytest.mark.parametrize("content", [b"m", b"dE", b"\x80\x02h\x00.", b"J\x00"])
def test_bytes_that_confuse_an_unpickler_are_called_damaged(damaged, content):
    damaged.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        checkpoints.load(damaged)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_sound_file_for_which_there_is_no_memory_is_not_called_damaged(tmp_path, monkeypatch, error):
    """Who is told so deletes what was learnt. By these words a job on a cluster is sent again with more memory."""
    checkpoints.save(tmp_path / "a.pt", CONTENT)

    def load(*_, **__):
        raise error

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(InputError, match="the memory does not suffice") as caught:
        checkpoints.load(tmp_path / "a.pt")
    assert "Delete" not in str(caught.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        checkpoints.load(tmp_path / "nowhere.pt")


def test_file_of_one_tensor_is_refused(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "a.pt")
    with pytest.raises(InputError):
        checkpoints.load_weights(tmp_path / "a.pt", nn.Linear(1, 1))


class Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))]
)
def test_code_does_not_run(tmp_path, write):
    path, trace = tmp_path / "a.pt", tmp_path / "it ran"
    write({"weights": Code(trace), "about": {}}, path)
    with pytest.raises(InputError):
        checkpoints.load(path)
    assert not trace.exists()
    # The test's own code would have run.
    torch.load(path, weights_only=False) if write is torch.save else pickle.loads(path.read_bytes())
    assert trace.exists()


def test_weights_are_restored_with_what_was_saved_about_them(tmp_path):
    network, other = (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
    )
    network(torch.randn(2, 1, 5, 5))
    checkpoints.save_weights(tmp_path / "a.pt", network, settings={"width": 2}, iterations=7)
    about = checkpoints.load_weights(tmp_path / "a.pt", other)
    assert about == {"torch": torch.__version__, "settings": {"width": 2}, "iterations": 7}
    assert other.state_dict().keys() == network.state_dict().keys()
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    "other", [nn.Conv2d(1, 3, 3), nn.Conv2d(1, 2, 5), nn.Linear(2, 2), nn.Sequential(nn.Conv2d(1, 2, 3))]
)
def test_weights_of_another_network_are_refused(tmp_path, other):
    checkpoints.save_weights(tmp_path / "a.pt", nn.Conv2d(1, 2, 3))
    with pytest.raises(InputError, match=r"a\.pt: its weights are not of the configured network"):
        checkpoints.load_weights(tmp_path / "a.pt", other)


@pytest.mark.parametrize("content", [{}, {"weights": 1, "about": {}}, {"weights": nn.Linear(1, 1).state_dict()}])
def test_file_without_weights_is_refused(tmp_path, content):
    checkpoints.save(tmp_path / "a.pt", content)
    with pytest.raises(InputError):
        checkpoints.load_weights(tmp_path / "a.pt", nn.Linear(1, 1))
