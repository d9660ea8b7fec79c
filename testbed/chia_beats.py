"""Chia's simulator that also sends signage points to its farmers, once in two seconds, as a real full node does.

Run by the Python of Chia's own virtual environment in place of `chia_full_node_simulator`.
"""

import asyncio
import os

from chia.protocols import farmer_protocol
from chia.protocols.outbound_message import NodeType, make_msg
from chia.protocols.protocol_message_types import ProtocolMessageTypes
from chia.simulator import start_simulator
from chia_rs.sized_bytes import bytes32
from chia_rs.sized_ints import uint8, uint32, uint64

_make_service = start_simulator.create_full_node_simulator_service


async def _send_points(node: object) -> None:
    challenge, filter_challenge = bytes32(os.urandom(32)), bytes32(os.urandom(32))
    for number in range(10**9):
        await asyncio.sleep(2)
        if number % 64 == 0:
            challenge, filter_challenge = bytes32(os.urandom(32)), bytes32(os.urandom(32))
        point = farmer_protocol.NewSignagePoint(
            challenge, bytes32(os.urandom(32)), bytes32(os.urandom(32)), uint64(10**9), uint64(2**27),
            uint8(number % 64), uint32(100), uint32(100), None, filter_challenge,
        )  # fmt: skip
        message = make_msg(ProtocolMessageTypes.new_signage_point, point)
        await node.server.send_to_all([message], NodeType.FARMER)


async def _with_points(*arguments: object, **named: object) -> object:
    service = await _make_service(*arguments, **named)
    service.points = asyncio.get_running_loop().create_task(_send_points(service._node))
    return service


start_simulator.create_full_node_simulator_service = _with_points
start_simulator.main()
