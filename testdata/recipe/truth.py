#!/usr/bin/env python3
"""The ground truth of a capture, by decryption: truth.py OUT.  Needs tshark and the key logs that lab.py left in OUT.

One line a TCP connection, in SYN order: addresses, class, the client's Certificate as decrypted (its length; 3 or 4 bytes
is the empty list), whether a session was resumed, and how many payload bytes came back.
"""
import collections
import pathlib
import subprocess
import sys

out = pathlib.Path(sys.argv[1])
keys = out / "keys.all"
keys.write_text("".join(path.read_text() for path in sorted(out.glob("keys.*.log"))))
FIELDS = ["tcp.stream", "ip.src", "tcp.srcport", "ip.dst", "tcp.dstport", "tcp.len", "tls.handshake.type", "tls.handshake.certificates_length",
          "tls.handshake.extensions_server_name", "tls.handshake.extensions_alpn_str", "tls.alert_message.desc", "tls.record.opaque_type", "tcp.flags.syn",
          "tls.handshake.extensions.psk.identity.selected"]
command = ["tshark", "-r", str(out / "capture.pcap"), "-o", f"tls.keylog_file:{keys}", "-d", "tcp.port==1-65535,tls", "-T", "fields"]
for field in FIELDS:
    command += ["-e", field]
flows = collections.OrderedDict()
for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
    row = dict(zip(FIELDS, line.split("\t") + [""] * len(FIELDS)))
    flow = flows.setdefault(row["tcp.stream"], {"client": (row["ip.src"], row["tcp.srcport"]), "server": f"{row['ip.dst']}:{row['tcp.dstport']}",
                                                "back": 0, "certificate": "none", "resumed": "", "sni": "-", "alpn": "-", "alerts": "", "tls": False})
    from_client = (row["ip.src"], row["tcp.srcport"]) == flow["client"]
    flow["back"] += 0 if from_client else int(row["tcp.len"] or 0)
    types = row["tls.handshake.type"].split(",")
    flow["tls"] |= types[0] in ("1", "2")
    if from_client and "11" in types:
        flow["certificate"] = row["tls.handshake.certificates_length"] or "?"
    if not from_client and "2" in types and row["tls.handshake.extensions.psk.identity.selected"]:
        flow["resumed"] = "resumed"
    if from_client and "1" in types:
        flow["sni"] = row["tls.handshake.extensions_server_name"] or "-"
        flow["alpn"] = row["tls.handshake.extensions_alpn_str"] or "-"
    if row["tls.alert_message.desc"]:
        flow["alerts"] += ("client" if from_client else "server") + ":" + row["tls.alert_message.desc"] + " "
for number, flow in enumerate(flows.values(), 1):
    print(number, flow["client"][0], flow["server"], "tls" if flow["tls"] else "plaintext", f"certificate={flow['certificate']}", flow["resumed"] or "full",
          f"back={flow['back']}", flow["sni"], flow["alpn"], flow["alerts"], sep="\t")
