"""Readers of object files, as far as the tests need them: the format, and the symbols that are not defined in them."""

import struct


def format_of(code):
    """Return the format of an object file and its architecture."""
    if code[:5] == b"\x7fELF\x02":
        return "ELF", {62: "x86_64", 183: "aarch64"}[struct.unpack_from("<H", code, 18)[0]]
    if code[:4] == b"\xcf\xfa\xed\xfe":
        return "Mach-O", {0x01000007: "x86_64", 0x0100000C: "aarch64"}[struct.unpack_from("<I", code, 4)[0]]
    return "COFF", {0x8664: "x86_64", 0xAA64: "aarch64"}[struct.unpack_from("<H", code)[0]]


def undefined(code):
    """Return the names that an object file needs from elsewhere."""
    return {"ELF": _of_elf, "Mach-O": _of_mach_o, "COFF": _of_coff}[format_of(code)[0]](code)


def _text(code, at):
    return code[at : code.index(b"\0", at)].decode()


def _of_elf(code):
    table, size, count = (struct.unpack_from(kind, code, at)[0] for kind, at in (("<Q", 40), ("<H", 58), ("<H", 60)))
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, table + number * size) for number in range(count)]
    (symbols,) = (section for section in sections if section[1] == 2)
    names = sections[symbols[6]][4]
    entries = (struct.unpack_from("<IBBH", code, at) for at in range(symbols[4], symbols[4] + symbols[5], 24))
    return {_text(code, names + name) for name, _, _, section in entries if section == 0 and name}


def _of_mach_o(code):
    at, found = 32, set()
    for _ in range(struct.unpack_from("<I", code, 16)[0]):
        command, size, symbols, count, names = struct.unpack_from("<IIIII", code, at)
        if command == 2:
            entries = (struct.unpack_from("<IB", code, symbols + number * 16) for number in range(count))
            found |= {_text(code, names + name) for name, kind in entries if kind & 0x0F == 1}
        at += size
    return found


def _of_coff(code):
    symbols, count = struct.unpack_from("<II", code, 8)
    found, number = set(), 0
    while number < count:
        name, _, section, _, kind, more = struct.unpack_from("<8sIhHBB", code, symbols + number * 18)
        if section == 0 and kind == 2:
            long = name[:4] == b"\0" * 4
            at = symbols + count * 18 + struct.unpack_from("<I", name, 4)[0]
            found.add(_text(code, at) if long else name.rstrip(b"\0").decode())
        number += 1 + more
    return found
