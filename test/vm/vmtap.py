# SPDX-License-Identifier: BSD-3-Clause
"""The host's end of a TAP device: a network of its own, so that nothing of this machine is touched, an
address on the device, and somebody who answers on TCP."""

import ctypes
import fcntl
import hashlib
import os
import socket
import struct
import threading

CLONE_NEWNET = 0x40000000
SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFFLAGS, SIOCSIFMTU = 0x8916, 0x891c, 0x8914, 0x8922
IFF_UP_RUNNING = 0x41


def leave_network():
    """This process and its children get a network of their own. False: not possible here."""
    if not os.path.exists("/dev/net/tun"):
        return False
    return ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0


def _ifreq(control, request, name, data):
    fcntl.ioctl(control, request, struct.pack("16s24s", name.encode(), data))


def up(name, address, mtu):
    """Brings a device up with an address in a network of 24 bits."""
    def inet(text):
        return struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(text))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _ifreq(control, SIOCSIFADDR, name, inet(address))
        _ifreq(control, SIOCSIFNETMASK, name, inet("255.255.255.0"))
        _ifreq(control, SIOCSIFMTU, name, struct.pack("i", int(mtu)))
        _ifreq(control, SIOCSIFFLAGS, name, struct.pack("h", IFF_UP_RUNNING))
    return "up"


def _answer(conn):
    digest = hashlib.md5()
    with conn:
        while True:
            data = conn.recv(65536)
            if not data:
                break
            digest.update(data)
        conn.sendall(digest.hexdigest().encode() + b"\n")


def _send(conn, data):
    with conn:
        conn.sendall(data)


def _serve(port, handle):
    listener = socket.create_server(("0.0.0.0", port))

    def run():
        while True:
            conn, _ = listener.accept()
            threading.Thread(target=handle, args=(conn,), daemon=True).start()
    threading.Thread(target=run, daemon=True).start()


def listen(*sizes):
    """Port 5000 answers what it is sent with its MD5 sum; port 5001 sends as many bytes as the first of
    the sizes says, 5002 the second, and so on. Their sums are the answer to this call."""
    _serve(5000, _answer)
    sums = []
    for i, size in enumerate(sizes):
        data = os.urandom(int(size))
        _serve(5001 + i, lambda conn, data=data: _send(conn, data))
        sums.append(hashlib.md5(data).hexdigest())
    return " ".join(sums)
