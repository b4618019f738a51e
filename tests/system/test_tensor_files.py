import pytest
import safetensors
import torch

from helpers.errors import NetworkFileError
from helpers.system import check_finite, load_tensors, save_tensors
from tests.fuzzing.checkpoint_mutations import Payload

CPU = torch.device("cpu")
CONTENT = {
    "iteration": 7,
    "sections": [("net", {"width": "64"})],
    "average": 0.1 + 0.2,
    "weights": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(5)},
    "optimizer": {"state": {0: {"buffer": torch.ones(2, dtype=torch.float64), "dampening": None}}},
}


def test_tensors_and_plain_values_come_back(tmp_path):
    save_tensors(tmp_path / "a.safetensors", CONTENT)
    read = load_tensors(tmp_path / "a.safetensors", CPU)
    assert (read["iteration"], read["average"], read["sections"]) == (7, 0.1 + 0.2, [["net", {"width": "64"}]])
    assert torch.equal(read["weights"]["a"], CONTENT["weights"]["a"])
    assert read["weights"]["b"].shape == ()
    assert read["optimizer"]["state"]["0"]["dampening"] is None
    assert read["optimizer"]["state"]["0"]["buffer"].dtype == torch.float64


def test_equal_content_gives_equal_bytes_whatever_its_order_and_its_layout_in_memory(tmp_path):
    image = torch.arange(48.0).reshape(1, 3, 4, 4)
    save_tensors(tmp_path / "one.safetensors", {"iteration": 1, "weights": {"a": image, "b": torch.ones(2)}})
    last = {"b": torch.ones(2), "a": image.to(memory_format=torch.channels_last)}
    save_tensors(tmp_path / "two.safetensors", {"weights": last, "iteration": 1})
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


def test_any_program_reads_the_tensors(tmp_path):
    save_tensors(tmp_path / "a.safetensors", CONTENT)
    with safetensors.safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert sorted(file.keys()) == ["optimizer/state/0/buffer", "weights/a", "weights/b"]
        assert torch.equal(file.get_tensor("weights/a"), CONTENT["weights"]["a"])
        assert '"iteration": 7' in file.metadata()["workbook"]


def test_each_flipped_bit_is_refused(tmp_path):
    save_tensors(tmp_path / "a.safetensors", {"iteration": 7, "weights": {"a": torch.ones(3)}})
    whole = (tmp_path / "a.safetensors").read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        (tmp_path / "flipped.safetensors").write_bytes(flipped)
        with pytest.raises(NetworkFileError, match=r"flipped\.safetensors: not a checkpoint of this workbook"):
            load_tensors(tmp_path / "flipped.safetensors", CPU)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04", b"\xff" * 16, b"\x02" + bytes(7) + b"{}"])
def test_another_file_is_refused_by_name(tmp_path, content):
    (tmp_path / "damaged.safetensors").write_bytes(content)
    with pytest.raises(NetworkFileError, match=r"damaged\.safetensors"):
        load_tensors(tmp_path / "damaged.safetensors", CPU)


def test_a_file_with_code_is_refused_and_its_code_not_run(tmp_path):
    mark = tmp_path / "the code ran"
    torch.save({"weights": Payload(mark)}, tmp_path / "hostile.safetensors")
    with pytest.raises(NetworkFileError, match=r"hostile\.safetensors"):
        load_tensors(tmp_path / "hostile.safetensors", CPU)
    assert not mark.exists()


def test_weights_that_are_no_numbers_are_named(tmp_path):
    check_finite(tmp_path / "a.safetensors", {"a": torch.ones(2), "b": torch.tensor([1, 2])})
    with pytest.raises(NetworkFileError, match=r"a\.safetensors: b holds NaN or infinite weights"):
        check_finite(tmp_path / "a.safetensors", {"a": torch.ones(2), "b": torch.tensor([1.0, float("nan")])})
