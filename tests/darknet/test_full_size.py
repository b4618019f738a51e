from helpers import darknet


def test_the_networks_have_the_boxes_and_floats_that_are_known():
    networks = darknet.full_size_networks()
    assert all(parameter.is_meta for network in networks.values() for parameter in network.parameters())
    table = darknet.table_networks(networks).set_index("network")
    # 13 x 13 cells of 5 anchors; 3 anchors in 19 x 19, 38 x 38 and 76 x 76 cells
    assert table.loc["yolov2", ["size", "heads", "boxes"]].tolist() == [416, 1, 13 * 13 * 5]
    assert table.loc["yolov3", ["size", "heads", "boxes"]].tolist() == [608, 3, 3 * (19**2 + 38**2 + 76**2)]
    for name, network in networks.items():
        assert table.loc[name, "convolutions"] == len(darknet.float_counts(network))
