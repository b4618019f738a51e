import torch

from helpers.system import load_tensors, save_tensors
from helpers.training.optimizer_state import restore_optimizer


def begun():
    """A convolution as training holds it, one pixel's channels together in memory, and its optimizer."""
    torch.manual_seed(1)
    network = torch.nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    return network, torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)


def step(network, optimizer):
    optimizer.zero_grad()
    network(torch.ones(2, 3, 5, 5).to(memory_format=torch.channels_last)).square().sum().backward()
    optimizer.step()


def test_an_optimizer_read_from_a_file_goes_on_as_the_one_that_was_written(tmp_path):
    network, optimizer = begun()
    step(network, optimizer)
    save_tensors(tmp_path / "state", {"weights": network.state_dict(), "optimizer": optimizer.state_dict()})
    saved = load_tensors(tmp_path / "state", torch.device("cpu"))
    again, restored = begun()
    again.load_state_dict(saved["weights"])
    restore_optimizer(restored, saved["optimizer"])
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        kept, found = optimizer.state[one]["momentum_buffer"], restored.state[other]["momentum_buffer"]
        assert torch.equal(found, kept)
        # one fused step on a GPU wants weights and momentum in the same order in memory
        assert found.stride() == other.stride() == kept.stride()
    step(network, optimizer)
    step(again, restored)
    assert all(map(torch.equal, network.parameters(), again.parameters()))
