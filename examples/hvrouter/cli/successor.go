package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// successor starts `hvrouter bfd -takeover` with the same flags in a session of its own, and
// returns when it has the sessions of the process that runs. Called by systemd as ExecReload=
// (sd_notify(3), MAINPID=) it makes the successor the main process of the unit.
func successor(in invocation, flags []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	log := logger(in.stderr)
	dir, err := os.MkdirTemp("", "hvrouter")
	if err != nil {
		return in.fail(exitFailed, err)
	}
	defer os.RemoveAll(dir)
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		return in.fail(exitFailed, err)
	}
	defer ready.Close()
	cmd := exec.Command("/proc/self/exe", append(append([]string(nil), in.before[min(1, len(in.before)):]...), flags...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+ready.LocalAddr().String())
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return in.fail(exitFailed, err)
	}
	// The predecessor ends as soon as it has given everything away, and systemd must know
	// by then that it is not the main process any more.
	notify(log, fmt.Sprintf("MAINPID=%d", cmd.Process.Pid))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	serves := make(chan error, 1)
	go func() { serves <- waitReady(ready) }()
	select {
	case err = <-serves:
		if err == nil {
			return exitOK
		}
	case err = <-ended:
		err = cmp.Or(err, errors.New("the successor ended at once"))
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = cmd.Process.Kill() // if it has not ended; the predecessor notices, and goes on
	if old := os.Getenv("MAINPID"); old != "" {
		notify(log, "MAINPID="+old)
	}
	return in.fail(exitFailed, fmt.Errorf("the BFD process was not replaced: %w", err))
}

// waitReady waits for READY=1.
func waitReady(c *net.UnixConn) error {
	_ = c.SetReadDeadline(time.Now().Add(startTime))
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return err
		}
		if strings.HasPrefix(string(buf[:n]), "READY=1") {
			return nil
		}
	}
}
