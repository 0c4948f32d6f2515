package cli

import (
	"log/slog"
	"net"
	"os"
)

// notify tells systemd that the daemon is ready (sd_notify); without systemd it
// does nothing.
func notify(log *slog.Logger) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err == nil {
		_, err = c.Write([]byte("READY=1"))
		c.Close()
	}
	if err != nil {
		log.Warn("systemd was not told", "event", "notify", "err", err)
	}
}
