"""Python packages for pip, made of nothing but a zip file."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping


def wheel(
    name: str, version: str, files: Mapping[str, str], scripts: Mapping[str, str] | None = None
) -> tuple[str, bytes]:
    """Return a wheel's file name and bytes; `scripts` maps a command to `module:function`."""
    info = f"{name}-{version}.dist-info"
    inside = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    if scripts:
        rows = "".join(f"{command} = {target}\n" for command, target in scripts.items())
        inside[f"{info}/entry_points.txt"] = f"[console_scripts]\n{rows}"
    record = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in inside.items())
    inside[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in inside.items():
            # A fixed date: the same content gives the same bytes.
            archive.writestr(zipfile.ZipInfo(path), text)
    return f"{name}-{version}-py3-none-any.whl", out.getvalue()


def _digest(text: str) -> str:
    """Hash a file as RECORD wants it."""
    raw = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
