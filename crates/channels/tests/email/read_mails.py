"""Reads mails as strictly as Python can: a question {"mail": base64} a line, an answer a line."""

import base64
import email
import email.errors
import email.header
import email.policy
import email.utils
import json
import re
import sys


def mailbox(raw, name):
    """An address by the older API: the newer one leaves the space between encoded words in names."""
    plain = email.message_from_string(raw.decode(), policy=email.policy.compat32)[name]
    shown, address = email.utils.parseaddr(re.sub(r"\r\n(?=[ \t])", "", str(plain)))
    decoded = email.header.decode_header(shown)
    texts = [part.decode(charset or "ascii") if isinstance(part, bytes) else part for part, charset in decoded]
    return ["".join(texts), address]


def read(raw):
    policy = email.policy.strict.clone(utf8=not raw.isascii())
    mail = email.message_from_string(raw.decode(), policy=policy)
    answer = {"subject": mail["subject"], "parts": [], "headers": [n for n, _ in mail.items()]}
    for name in ("from", "to", "reply-to"):
        if mail[name] is not None:
            # A local part beyond ASCII is noted as a defect even where RFC 6531 allows it.
            allowed = [] if raw.isascii() else [email.errors.NonASCIILocalPartDefect]
            if [one for one in mail[name].defects if type(one) not in allowed]:
                raise ValueError(f"{name}: {mail[name].defects}")
            (address,) = mail[name].addresses
            answer[name] = mailbox(raw, name)
            if address.addr_spec != answer[name][1] and raw.isascii():
                raise ValueError(f"{name}: {address.addr_spec}")
    for part in mail.walk():
        if part.defects:
            raise ValueError(f"part: {part.defects}")
        if part.is_multipart():
            answer["multipart"] = part.get_content_type()
        else:
            answer["parts"].append([part.get_content_type(), part.get_content()])
            answer["encoding"] = part["content-transfer-encoding"]
    answer["date"] = mail["date"].datetime.timestamp()
    return answer


for line in sys.stdin:
    raw = base64.b64decode(json.loads(line)["mail"])
    try:
        print(json.dumps(read(raw)))
    except Exception as error:  # whatever it is, the test shows it
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
