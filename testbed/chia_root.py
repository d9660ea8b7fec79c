"""Makes the root directory of a Chia for tests: `chia_root.py ROOT PORT NODE_PORT LEVEL sim|wallet`.

Run by the Python of Chia's own virtual environment, with CHIA_ROOT and CHIA_KEYS_ROOT set. `sim` is a simulator with
wallet, farmer and harvester of its own; `wallet` is another one's wallet at the node of a simulator. Its services
take the ports from PORT on; the node's is NODE_PORT.
"""

import sys
from pathlib import Path

from chia.cmds.init_funcs import chia_init
from chia.cmds.sim_funcs import create_chia_directory, select_fingerprint
from chia.protocols.outbound_message import NodeType
from chia.server.resolve_peer_info import set_peer_info
from chia.util.config import load_config, save_config

DAEMON, NODE_RPC, WALLET_RPC, FARMER, FARMER_RPC, HARVESTER_RPC = range(6)


def main() -> None:
    """Make it, and print the fingerprint of its key."""
    root, base, node, level, kind = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
    fingerprint = select_fingerprint(auto_generate_key=True)
    if kind == "sim":
        create_chia_directory(root, fingerprint, None, None, False, False)
    else:
        chia_init(root, testnet=True, fix_ssl_permissions=True)
    config = load_config(root, "config.yaml")
    if kind != "sim":
        simulator = load_config(Path(sys.argv[6]), "config.yaml")
        config["selected_network"] = simulator["selected_network"]
        config["network_overrides"] = simulator["network_overrides"]
        for service in ("wallet", "full_node", "farmer", "harvester"):
            config[service]["selected_network"] = simulator["selected_network"]
            config[service]["network_overrides"] = simulator["network_overrides"]
        config["wallet"].update({key: simulator["wallet"][key] for key in ("testing", "trusted_peers")
                                 if key in simulator["wallet"]})  # fmt: skip
    overrides = config["network_overrides"]
    overrides["config"]["simulator0"]["default_full_node_port"] = node
    constants = overrides["constants"]["simulator0"]
    constants.update(NUMBER_ZERO_BITS_PLOT_FILTER_V1=1, NUMBER_ZERO_BITS_PLOT_FILTER_V2=1, HARD_FORK2_HEIGHT=1000)
    constants.update(DIFFICULTY_CONSTANT_FACTOR=33554432, EPOCH_BLOCKS=4608)
    config["daemon_port"] = config["ui"]["daemon_port"] = base + DAEMON
    config["full_node"]["port"] = node
    config["full_node"]["rpc_port"] = base + NODE_RPC
    config["wallet"]["rpc_port"] = base + WALLET_RPC
    config["farmer"]["port"] = base + FARMER
    config["farmer"]["rpc_port"] = base + FARMER_RPC
    config["harvester"]["rpc_port"] = base + HARVESTER_RPC
    config["harvester"]["plots_refresh_parameter"]["interval_seconds"] = 3
    set_peer_info(config["wallet"], peer_type=NodeType.FULL_NODE, peer_port=node)
    set_peer_info(config["farmer"], peer_type=NodeType.FULL_NODE, peer_port=node)
    set_peer_info(config["harvester"], peer_type=NodeType.FARMER, peer_port=base + FARMER)
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        if isinstance(part.get("logging"), dict):
            part["logging"]["log_level"] = level
            part["logging"]["log_stdout"] = False
    save_config(root, "config.yaml", config)
    print(fingerprint)


main()
