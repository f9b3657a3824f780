"""Verifies every DKIM signature of a mail by dkimpy: {"mail": base64, "records": {name: text}} a line."""

import base64
import json
import sys

import dkim

for line in sys.stdin:
    question = json.loads(line)
    mail = base64.b64decode(question["mail"])
    records = question["records"]

    def look_up(name, timeout=5):
        return records.get(name.decode().rstrip("."), "").encode()

    verifier = dkim.DKIM(mail)
    count = sum(1 for name, _ in verifier.headers if name.lower() == b"dkim-signature")
    verdicts = []
    for index in range(count):
        try:
            verdicts.append(bool(dkim.DKIM(mail).verify(idx=index, dnsfunc=look_up)))
        except dkim.DKIMException as error:
            verdicts.append(str(error))
    print(json.dumps(verdicts))
