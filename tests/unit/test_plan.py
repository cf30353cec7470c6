"""diff: what separates the system from the plan, and in which order it is mended."""

from __future__ import annotations

from piot_firstboot.items import Directory, File, Item, Lines, Login, Symlink, SystemUser, Unit, key
from piot_firstboot.plan import Change, diff, merge, owned

UNIT_PATH = "/etc/systemd/system/piot-garden-web.service"


def words(changes: tuple[Change, ...]) -> list[str]:
    return [str(change) for change in changes]


def found(*items: Item) -> dict[str, Item]:
    return {key(item): item for item in items}


def test_same_state_is_an_empty_diff() -> None:
    items = (
        File("/etc/hostname", b"pi\n"),
        Directory("/var/lib/piot"),
        Symlink("/etc/localtime", "/usr/share/zoneinfo/UTC"),
        Lines("/etc/hosts", ("127.0.1.1\tpi",), replaces="127.0.1.1"),
        Login("ada", "$y$x", ("sudo",)),
    )
    current = found(*items[:3], Lines("/etc/hosts", ("127.0.0.1\tlocalhost", "127.0.1.1\tpi")))
    current |= found(Login("ada", "$y$x", ("users", "sudo")))
    assert diff(items, current, owned(items)) == ()


def test_order_is_stop_remove_users_directories_files_links_then_units() -> None:
    items = (
        Unit("piot-garden-web.service", active=True, on_change="restart", because=(UNIT_PATH,)),
        Symlink("/etc/link", "target"),
        File(UNIT_PATH, b"[Service]\n"),
        Directory("/srv/x"),
        SystemUser("piot-garden", "/var/lib/piot-garden"),
    )
    before = ("unit piot-old.service", "file /etc/systemd/system/piot-old.service", "directory /d")
    current = found(File("/etc/systemd/system/piot-old.service", b""), Directory("/d"))
    assert words(diff(items, current, before)) == [
        "stop unit piot-old.service",
        "remove file /etc/systemd/system/piot-old.service",
        "remove directory /d",
        "create user piot-garden",
        "create directory /srv/x",
        f"create file {UNIT_PATH}",
        "create symlink /etc/link",
        "start unit piot-garden-web.service",
    ]


def test_nested_directories_are_removed_from_the_deepest_up() -> None:
    before = ("directory /a", "directory /a/b")
    current = found(Directory("/a"), Directory("/a/b"))
    assert words(diff((), current, before)) == ["remove directory /a/b", "remove directory /a"]


def test_only_what_piot_made_is_removed() -> None:
    current = found(File("/etc/other", b"theirs"), File("/etc/ours", b"ours"))
    assert words(diff((), current, ("file /etc/ours",))) == ["remove file /etc/ours"]


def test_mode_and_owner_count_as_much_as_content() -> None:
    wanted = File("/etc/secret", b"x", 0o600)
    assert words(diff((wanted,), found(File("/etc/secret", b"x", 0o644)))) == [
        "change file /etc/secret"
    ]
    assert words(diff((wanted,), found(File("/etc/secret", b"x", 0o600, owner="ada")))) == [
        "change file /etc/secret"
    ]


def test_active_unit_follows_its_file_and_only_its_file() -> None:
    unit = Unit("web.service", active=True, on_change="restart", because=("/etc/web",))
    running = found(Unit("web.service", active=True))
    same = found(File("/etc/web", b"1"), File("/etc/other", b"1"))
    other = (File("/etc/web", b"1"), File("/etc/other", b"2"), unit)
    assert words(diff(other, same | running)) == ["change file /etc/other"]
    mine = (File("/etc/web", b"2"), File("/etc/other", b"1"), unit)
    assert words(diff(mine, same | running)) == ["change file /etc/web", "restart unit web.service"]


def test_timer_that_changed_is_left_running() -> None:
    timer = Unit("t.timer", active=True, on_change="", because=("/etc/t",))
    current = found(File("/etc/t", b"1"), Unit("t.timer", active=True))
    assert words(diff((File("/etc/t", b"2"), timer), current)) == ["change file /etc/t"]


def test_job_of_a_commit_starts_though_inactive() -> None:
    job = Unit("migrate.service", on_change="start", because=("/etc/m",))
    current = found(File("/etc/m", b"1"), Unit("migrate.service", active=False))
    assert words(diff((File("/etc/m", b"2"), job), current)) == [
        "change file /etc/m",
        "start unit migrate.service",
    ]
    assert diff((File("/etc/m", b"1"), job), current) == ()


def test_unit_still_follows_after_a_cut_between_write_and_restart() -> None:
    unit = Unit("piot-web.service", active=True, on_change="restart", because=("/etc/web",))
    current = found(File("/etc/web", b"2"), Unit("piot-web.service", active=True))
    before = ("file /etc/web", "unit piot-web.service", "pending /etc/web")
    assert words(diff((File("/etc/web", b"2"), unit), current, before)) == [
        "restart unit piot-web.service"
    ]


def test_a_unit_is_enabled_again_after_a_cut() -> None:
    """With one of its links, an alias, it counts as enabled, and no boot starts it."""
    item = Unit("ssh.service", enabled=True)
    current = found(Unit("ssh.service", active=True, enabled=True))
    assert words(diff((item,), current, ("pending ssh.service",))) == ["enable unit ssh.service"]
    assert diff((item,), current) == ()


def test_foreign_unit_is_disabled_and_stopped() -> None:
    item = Unit("ssh.service", active=False, enabled=False)
    current = found(Unit("ssh.service", active=True, enabled=True))
    assert words(diff((item,), current)) == ["disable unit ssh.service", "stop unit ssh.service"]


def test_lines_keep_what_others_wrote_and_drop_what_piot_no_longer_wants() -> None:
    now = Lines("/home/ada/.ssh/authorized_keys", ("theirs", "old", "kept"))
    item = Lines("/home/ada/.ssh/authorized_keys", ("kept", "new"))
    gone = ("line /home/ada/.ssh/authorized_keys old",)
    assert merge(item, now, gone) == ("theirs", "kept", "new")
    before = (*gone, "line /home/ada/.ssh/authorized_keys kept")
    assert words(diff((item,), found(now), before)) == [
        "change lines /home/ada/.ssh/authorized_keys"
    ]


def test_lines_replace_by_prefix() -> None:
    now = Lines("/etc/hosts", ("127.0.0.1 localhost", "127.0.1.1 raspberrypi"))
    item = Lines("/etc/hosts", ("127.0.1.1\tgarden",), replaces="127.0.1.1")
    assert merge(item, now, ()) == ("127.0.0.1 localhost", "127.0.1.1\tgarden")


def test_shared_file_that_no_item_names_loses_only_our_lines() -> None:
    now = Lines("/etc/hosts", ("127.0.0.1 localhost", "127.0.1.1\tgarden"))
    (change,) = diff((), found(now), ("line /etc/hosts 127.0.1.1\tgarden",))
    assert isinstance(change.item, Lines)
    assert change.item.lines == ("127.0.0.1 localhost",)


def test_people_and_units_of_others_are_never_owned() -> None:
    assert owned((Login("ada"), Unit("ssh.service", active=True, enabled=True))) == ()


def test_account_is_changed_only_where_something_is_asked() -> None:
    now = found(Login("ada", "$y$old", ("sudo", "users"), shell="/bin/bash"))
    assert diff((Login("ada"),), now) == ()
    assert diff((Login("ada", "$y$new"),), now) != ()
    assert diff((Login("ada", groups=("video",)),), now) != ()
    assert diff((Login("ada", not_groups=("sudo",)),), now) != ()


def test_secrets_show_in_no_repr() -> None:
    assert "hunter2" not in repr(File("/x", b"hunter2", secret=True))
    assert "$y$abc" not in repr(Login("ada", "$y$abc"))
