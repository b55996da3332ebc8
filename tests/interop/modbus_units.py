"""Modbus units on a serial port (RTU) or a TCP port, served by pymodbus and driven by JSON lines.

Arguments: the serial port, or a number for a TCP port on loopback. Requests, one a line on standard input, each answered by one line:
  {"set": {"unit": 1, "address": 0, "words": [17254, 0]}}   input registers
  {"coils": {"unit": 2}}                                    -> {"coils": [false, ...]}
  {"refuse": {"unit": 2}}                                   writes are answered with an exception
  {"silence": {"unit": 2}}                                  the unit does not answer from now on
  {"served": {"unit": 11}}                                  -> {"served": [[1, 1763884800000], ...]}
Units 1 and 4 are meters with 512 input registers, units 2 and 3 are boards with eight coils. Units 11 to 20 count how
often they are read: each answer carries the count as a float, twice, and is noted with its time in milliseconds.
Any other unit is silent.
"""

import asyncio
import json
import struct
import sys
import time

from pymodbus import FramerType
from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import ModbusSerialServer, ModbusTcpServer

SERVER_FAILURE = 4


class Board(ModbusSlaveContext):
    """Eight coils that can be told to refuse a write."""

    def __init__(self):
        bits = [False] * 8
        super().__init__(co=ModbusSequentialDataBlock(1, list(bits)), di=ModbusSequentialDataBlock(1, list(bits)))
        self.refuse_writes = False

    def setValues(self, fc_as_hex, address, values):
        if self.refuse_writes:
            return SERVER_FAILURE
        return super().setValues(fc_as_hex, address, values)


class CountingMeter(ModbusSlaveContext):
    """Its registers 0 and 2 hold a float: how often they were read."""

    def __init__(self):
        super().__init__(ir=ModbusSequentialDataBlock(1, [0] * 16))
        self.served = []

    def getValues(self, fc_as_hex, address, count=1):
        number = len(self.served) + 1
        self.served.append([number, int(time.time() * 1000)])
        words = list(struct.unpack(">HH", struct.pack(">f", number))) * 2
        return (words + [0] * 16)[address : address + count]


def meter():
    return ModbusSlaveContext(ir=ModbusSequentialDataBlock(1, [0] * 512))


def serve(context, request):
    if "set" in request:
        change = request["set"]
        context[change["unit"]].setValues(4, change["address"], change["words"])
        return {"done": True}
    if "coils" in request:
        bits = context[request["coils"]["unit"]].getValues(1, 0, 8)
        return {"coils": [bool(bit) for bit in bits]}
    if "refuse" in request:
        context[request["refuse"]["unit"]].refuse_writes = True
        return {"done": True}
    if "silence" in request:
        del context[request["silence"]["unit"]]
        return {"done": True}
    if "served" in request:
        return {"served": context[request["served"]["unit"]].served}
    return {"error": f"unknown request {request}"}


def serve_on(port, context):
    if port.isdigit():
        return ModbusTcpServer(context, address=("127.0.0.1", int(port)), ignore_missing_slaves=True)
    return ModbusSerialServer(
        context, framer=FramerType.RTU, port=port, baudrate=9600, ignore_missing_slaves=True
    )


async def main():
    units = {1: meter(), 2: Board(), 3: Board(), 4: meter()}
    units.update({unit: CountingMeter() for unit in range(11, 21)})
    context = ModbusServerContext(slaves=units, single=False)
    server = serve_on(sys.argv[1], context)
    serving = asyncio.create_task(server.serve_forever())
    print(json.dumps({"ready": True}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(serve(context, json.loads(line))), flush=True)
    serving.cancel()


asyncio.run(main())
