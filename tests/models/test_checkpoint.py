"""Checkpoints hold a network and nothing that runs."""

from __future__ import annotations

import os
import pickle
import resource
from pathlib import Path

import pytest
import torch

from roadedge.errors import ModelFileError, OutputError, SpecMismatchError
from roadedge.models import create_model
from roadedge.models.checkpoint import initialise, load_network, read_archive, save_network
from roadedge.spec import ModelSpec, read_sidecar


class Evil:
    """A pickle that would run a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch roadedge-was-here",)


def test_a_network_comes_back_with_its_spec_and_provenance(tmp_path: Path) -> None:
    network = create_model("roadedge-n", ModelSpec("roadedge-n", threshold=0.4))
    save_network(tmp_path / "a.pt", network, {"why": "test"})
    back, provenance = load_network(tmp_path / "a.pt")
    assert back.spec == network.spec
    assert provenance == {"why": "test"}
    assert not back.training
    theirs = back.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in network.state_dict().items())
    sidecar = read_sidecar(tmp_path / "a.pt")
    assert sidecar is not None
    assert sidecar[0] == network.spec


def test_a_disk_without_room_is_an_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # bytes a file may have
    try:
        with pytest.raises(OutputError, match=r"cannot write .*a\.pt.*free some space"):
            save_network(tmp_path / "a.pt", create_model("roadedge-n"), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_spec_of_another_version_is_told_with_its_file(tmp_path: Path) -> None:
    save_network(tmp_path / "a.pt", create_model("roadedge-n"), {})
    content = read_archive(tmp_path / "a.pt")
    content["spec"]["from_the_future"] = 1
    torch.save(content, tmp_path / "b.pt")
    with pytest.raises(ModelFileError, match=r"b\.pt holds a spec that cannot be read.*from_the_future"):
        load_network(tmp_path / "b.pt")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    if legacy:
        path.write_bytes(pickle.dumps(Evil()))
    else:
        torch.save({"weights": Evil()}, path)
    with pytest.raises(ModelFileError, match="could run code"):
        load_network(path)
    assert not (tmp_path / "roadedge-was-here").exists()


def test_missing_cut_and_foreign_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="there is no checkpoint"):
        load_network(tmp_path / "none.pt")
    save_network(tmp_path / "a.pt", create_model("roadedge-n"), {})
    content = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFileError, match="cannot be read as a checkpoint"):
        load_network(tmp_path / "cut.pt")
    (tmp_path / "text.pt").write_text("not a checkpoint")
    with pytest.raises(ModelFileError):
        load_network(tmp_path / "text.pt")
    torch.save({"state_dict": {"conv": torch.zeros(1)}}, tmp_path / "foreign.pt")
    with pytest.raises(ModelFileError, match="not a roadedge checkpoint"):
        load_network(tmp_path / "foreign.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ModelFileError, match="holds a list"):
        read_archive(tmp_path / "list.pt")


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    network = create_model("roadedge-n")
    torch.save(
        {
            "schema_version": 1,
            "spec": ModelSpec("roadedge-s").to_dict(),
            "weights": network.state_dict(),
            "provenance": {},
        },
        tmp_path / "other.pt",
    )
    with pytest.raises(SpecMismatchError, match="not those of roadedge-s"):
        load_network(tmp_path / "other.pt")


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(SpecMismatchError, match="none of the weights"):
        initialise(create_model("roadedge-n"), {"a": torch.zeros(3)})


def test_a_compact_checkpoint_is_half_the_size_and_nearly_the_same_network(tmp_path: Path) -> None:
    network = create_model("roadedge-n").eval()
    save_network(tmp_path / "a.pt", network, {})
    save_network(tmp_path / "b.pt", network, {}, compact=True)
    assert (tmp_path / "b.pt").stat().st_size < 0.55 * (tmp_path / "a.pt").stat().st_size
    rounded, _ = load_network(tmp_path / "b.pt")
    assert all(value.dtype == network.state_dict()[key].dtype for key, value in rounded.state_dict().items())
    feeds = {"image": torch.full((1, 64, 64, 3), 90.0), "trajectory": torch.zeros(1, 64, 64, 1)}
    with torch.no_grad():
        assert torch.allclose(rounded(feeds)["logits"], network(feeds)["logits"], atol=1e-2)
