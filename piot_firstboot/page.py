"""The page of the fallback access point: one form, in plain HTML.

It is shown by the small browsers with which phones greet an access point that leads nowhere:
nothing is fetched, no script runs, no font is needed.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from piot_firstboot.errors import Problem
from piot_firstboot.newwifi import COUNTRY, NETWORK, PASSWORD, WHOLE, Form, Network

_STYLE = """
:root{color-scheme:light dark;--ink:#1a1c1e;--soft:#5b6066;--paper:#fff;--line:#8a9097;
--calm:#f1f3f5;--blue:#0b57c9;--on:#fff;--red:#b3140f;--pink:#fdeceb}
@media(prefers-color-scheme:dark){:root{--ink:#eceef0;--soft:#a9afb6;--paper:#16181a;
--line:#757c84;--calm:#22262a;--blue:#8ab6ff;--on:#08244f;--red:#ff9d95;--pink:#3a1a18}}
*,:before{box-sizing:border-box}
.whole{white-space:nowrap}
body{margin:0;background:var(--paper);color:var(--ink);font:1.0625rem/1.45 system-ui,sans-serif;
overflow-wrap:anywhere}
main{max-width:30rem;margin:0 auto;padding:1.25rem 1rem 2.5rem}
h1{font-size:1.5rem;line-height:1.2;margin:0 0 1rem}
fieldset{border:0;margin:0 0 1.25rem;padding:0;min-width:0}
legend,.name{display:block;font-weight:600;padding:0;margin:0 0 .375rem}
.field{margin:0 0 1.25rem}
.pick{position:absolute;opacity:0;width:1px;height:1px}
.net{display:flex;align-items:center;gap:.75rem;min-height:3rem;padding:.5rem .875rem;
border:1px solid var(--line);border-bottom-width:0;cursor:pointer}
.net:first-of-type{border-radius:.625rem .625rem 0 0}
.net.last{border-bottom-width:1px;border-radius:0 0 .625rem .625rem}
.net.last:first-of-type{border-radius:.625rem}
.net:before{content:"";flex:none;width:1.25rem;height:1.25rem;border:2px solid var(--line);
border-radius:50%}
.pick:checked+.net{background:var(--calm)}
.pick:checked+.net:before{border:.375rem solid var(--blue)}
.pick:disabled+.net{color:var(--soft);cursor:default}
.pick:disabled+.net:before{visibility:hidden}
.net small{margin-left:auto;text-align:right;flex:none;max-width:50%}
small,.hint{color:var(--soft);font-size:.875rem}
.hint{margin:.375rem 0 0}
.other{padding:.875rem 0 0}
#other:not(:checked)~.other{display:none}
input.text,select{width:100%;min-height:3rem;padding:.5rem .875rem;font:inherit;color:inherit;
background:var(--paper);border:1px solid var(--line);border-radius:.625rem}
select{appearance:none;padding-right:2.75rem;background-repeat:no-repeat;
background-image:linear-gradient(45deg,transparent 50%,var(--soft) 50%),
linear-gradient(135deg,var(--soft) 50%,transparent 50%);
background-position:right 1.25rem center,right .875rem center;background-size:.4rem .4rem}
.tick{display:flex;align-items:center;gap:.75rem;min-height:3rem}
.tick input{width:1.375rem;height:1.375rem;margin:0;accent-color:var(--blue)}
/* Hidden by style, because only so it can be shown again without a script. */
#password{-webkit-text-security:disc}
div:has(>label>#show:checked)>#password{-webkit-text-security:none}
button{width:100%;min-height:3.25rem;font:inherit;font-weight:600;color:var(--on);
background:var(--blue);border:0;border-radius:.625rem;cursor:pointer}
:focus-visible,.pick:focus-visible+.net{outline:3px solid var(--blue);outline-offset:2px}
.pick:focus-visible+.net{position:relative}
.bad{color:var(--red);margin:.625rem 0 0}
.bad[id]{font-weight:600}
.bad .hint{display:block;font-weight:400}
.box{border-left:.3125rem solid var(--red);background:var(--pink);padding:.75rem .875rem;
margin:0 0 1.25rem;border-radius:.25rem}
.box p{margin:0}.box p+p{margin-top:.5rem}
[aria-invalid=true]{border:2px solid var(--red)!important}
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# What the page may do: show this style, and send the form to where it came from.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class View:
    """What one page shows. `last` says why the attempt before failed."""

    name: str
    token: str = ""
    near: Sequence[Network] = ()
    countries: Mapping[str, str] = field(default_factory=dict)
    form: Form = Form()
    problems: Mapping[str, Sequence[Problem]] = field(default_factory=dict)
    last: str = ""


def form(view: View) -> bytes:
    """Render the form, with what is wrong beside the field that it is about."""
    wrong = any(view.problems.values())
    heading = f"Connect {_e(view.name)} to"
    parts = [f'<h1>{heading} <span class="whole">Wi-Fi</span></h1>']
    if view.problems.get(WHOLE):
        lines = "".join(map(_general, view.problems[WHOLE]))
        parts.append(f'<div class="box" role="alert"><p><b>Not saved.</b></p>{lines}</div>')
    elif wrong:
        text = "<b>Not saved.</b> See what is marked below."
        parts.append(f'<div class="box" role="alert"><p>{text}</p></div>')
    elif view.last:
        parts.append(f'<div class="box" role="status"><p>{_e(view.last)}</p></div>')
    focus = next((name for name in (NETWORK, PASSWORD, COUNTRY) if view.problems.get(name)), "")
    parts += [
        '<form method="post" action="/" autocomplete="off" novalidate>',
        f'<input type="hidden" name="token" value="{_e(view.token)}">',
        _networks(view, focus),
        _password(view, focus),
        _country(view, focus),
        '<button type="submit">Connect</button></form>',
    ]
    title = f"{'Error: ' if wrong else ''}Wi-Fi for {view.name}"
    return _document(title, "\n".join(parts))


def trying(name: str, network: str, minutes: int) -> bytes:
    """Render what is shown once a network was taken: the access point is about to close."""
    text = (
        f"<h1>Saved. Connecting to {_e(network)} …</h1>\n"
        "<p>This access point closes now, because the device has one radio for both.</p>\n"
        f"<p>If <b>{_e(name)}</b> cannot be reached in your network within {minutes} minutes, join "
        f"the access point <b>{_e(name)}</b> again: this page then says why.</p>"
    )
    return _document(f"Connecting {name}", text)


def _document(title: str, body: str) -> bytes:
    """Put the frame around a page."""
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_e(title)}</title>\n"
        f'<link rel="icon" href="data:,">\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
    return text.encode("utf-8", "replace")


def _networks(view: View, focus: str) -> str:
    """Render the choice of networks, and the field for one that is not seen."""
    picked = view.form.network
    if not picked and not view.form.ssid and view.near and not view.problems:
        # The strongest is the most likely one.
        picked = next((one.ssid.hex() for one in view.near if not one.enterprise), "")
    rows = [_row(number, one, picked) for number, one in enumerate(view.near)]
    known = any(one.ssid.hex() == picked for one in view.near)
    invalid = _invalid(view, NETWORK)
    here = " autofocus" * (focus == NETWORK)
    name = "Another network" if rows else "Your network"
    hint = "" if rows else '<p class="hint">No network was found. Type its name.</p>'
    ticked = " checked" * view.form.keyless
    rows.append(
        f'<input class="pick" type="radio" name="network" id="other" value=""'
        f"{' checked' * (not known)}>"
        f'<label class="net last" for="other">{name}</label>\n<div class="other">'
        '<label class="name" for="ssid">Name of the network</label>'
        f'<input class="text" id="ssid" name="ssid" value="{_e(view.form.ssid)}" {_PLAIN}'
        f"{invalid}{here}>{hint}"
        f'<label class="tick"><input type="checkbox" name="keyless"{ticked}>'
        "It has no password</label></div>"
    )
    choice = "\n".join(rows)
    error = _errors(view, NETWORK)
    about = f' aria-describedby="{NETWORK}-error"' * bool(error)
    return f"<fieldset{about}><legend>Network</legend>{error}\n{choice}\n</fieldset>"


_PLAIN = 'autocomplete="off" autocapitalize="none" autocorrect="off" spellcheck="false"'


def _row(number: int, one: Network, picked: str) -> str:
    """Render one network within reach."""
    value = one.ssid.hex()
    name = one.ssid.decode("utf-8", "replace")
    shown = "".join(char if char.isprintable() else "\ufffd" for char in name)
    strength = "strong" if one.signal >= 66 else "fair" if one.signal >= 33 else "weak"
    about = f"{strength}, open" if one.keyless else strength
    state = " checked" * (value == picked)
    if one.enterprise:
        about, state = "needs a user name", " disabled"
    return (
        f'<input class="pick" type="radio" name="network" id="n{number}" value="{value}"{state}>'
        f'<label class="net" for="n{number}"><span dir="auto">{_e(shown)}</span>'
        f"<small>{about}</small></label>"
    )


def _password(view: View, focus: str) -> str:
    """Render the field for the password; it never shows again what was entered."""
    lost = view.form.password and not view.problems.get(PASSWORD)
    again = '<p class="hint">Enter it again: it is not kept here.</p>' if lost else ""
    return (
        '<div class="field"><label class="name" for="password">Password</label>'
        f'<input class="text" id="password" name="password" {_PLAIN}'
        f"{_invalid(view, PASSWORD)}{' autofocus' * (focus == PASSWORD)}>"
        f'{_errors(view, PASSWORD)}{again}<label class="tick"><input type="checkbox" id="show">'
        "Show the password</label></div>"
    )


def _country(view: View, focus: str) -> str:
    """Render the choice of the country, or a field where the device knows no list of them."""
    here = f"{_invalid(view, COUNTRY)}{' autofocus' * (focus == COUNTRY)}"
    said = view.form.country
    if view.countries:
        known = {"": "Choose …", **view.countries}
        if said not in known:
            known[said] = said
        options = "".join(
            f'<option value="{_e(code)}"{" selected" * (code == said)}>{_e(name)}</option>'
            for code, name in known.items()
        )
        control = f'<select id="country" name="country"{here}>{options}</select>'
    else:
        control = (
            f'<input class="text" id="country" name="country" value="{_e(said)}" {_PLAIN}{here}>'
        )
    return (
        f'<div class="field"><label class="name" for="country">Country</label>{control}'
        f"{_errors(view, COUNTRY)}"
        '<p class="hint">Where the device stands: it decides which channels it may use.</p></div>'
    )


def _invalid(view: View, name: str) -> str:
    """Mark a field that is wrong, and say where the reason stands."""
    if not view.problems.get(name):
        return ""
    return f' aria-invalid="true" aria-describedby="{name}-error"'


def _errors(view: View, name: str) -> str:
    """Render what is wrong with a field, in the judge's words."""
    problems = view.problems.get(name)
    if not problems:
        return ""
    lines = "<br>".join(f"{_e(problem.message)}{_hint(problem)}" for problem in problems)
    return f'<p class="bad" id="{name}-error">{lines}</p>'


def _general(problem: Problem) -> str:
    """Render a problem of no field, with its place in the file."""
    place = f"{problem.source}, line {problem.line}: " if problem.line else ""
    return f"<p>{_e(place)}{_e(problem.message)}{_hint(problem)}</p>"


def _hint(problem: Problem) -> str:
    """Render what to do about a problem."""
    return f'<span class="hint"> {_e(problem.hint)}</span>' if problem.hint else ""


def _e(text: str) -> str:
    """Escape for text and for attributes in double quotes."""
    return escape(text, quote=True)
