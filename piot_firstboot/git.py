"""How PioT calls git: constants only, so that the idle poll may load them for nothing.

git runs with none of the machine's or the user's configuration, asks nothing at a terminal, and
gives up on a line that is stuck.
"""

CONTAINED = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "protocol.ext.allow=never",
    "-c",
    "gc.auto=0",
)

ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "http:https:ssh:git:file",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=20 -oServerAliveInterval=15",
    # Debian's git reads the bundle and then each file of the directory: the same trust twice.
    # An empty directory leaves the bundle, and two thirds of the work away. Bookworm's needs the
    # bundle named.
    "GIT_SSL_CAINFO": "/etc/ssl/certs/ca-certificates.crt",
    "GIT_SSL_CAPATH": "",
    # Less than 1,000 bytes a second for a minute is a dead line, not a slow one.
    "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
    "GIT_HTTP_LOW_SPEED_TIME": "60",
}
