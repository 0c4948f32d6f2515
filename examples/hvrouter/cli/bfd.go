package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/handover"
)

// bfdProcess is the process that BFD sessions live in. It ends by itself when no
// daemon was there for the restart time.
func bfdProcess(in invocation) int {
	fs := in.flags("bfd")
	socket := fs.String("socket", defaultAPI+".bfd", "unix socket `PATH` for the daemon")
	realtime := fs.String("realtime", "auto", "SCHED_FIFO: auto, on or off")
	restart := fs.Duration("restart-time", 2*time.Minute, "how long sessions live without a daemon")
	takeover := fs.Bool("takeover", false, "replace the running BFD process; no session notices")
	replace := fs.Bool("replace", false, "-takeover if a BFD process runs: it may be one that the daemon has started, since there was none")
	detach := fs.Bool("detach", false, "with -takeover: return when the successor has the sessions, and leave it running")
	if _, ok := in.words(fs, 0, 0); !ok {
		return exitUsage
	}
	*takeover = *takeover || *replace && api.Answers(*socket)
	if *detach && *takeover {
		return successor(in, []string{"bfd", "-takeover", "-socket", *socket, "-realtime", *realtime, "-restart-time", restart.String()})
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	log := logger(in.stderr)
	cfg := bfd.ServeConfig{RestartTime: *restart, Config: bfd.Config{RealTime: failover.RealTime(config.BFD{Realtime: *realtime}),
		LockMemory: true, Notice: func(err error) { log.Warn("BFD", "event", "bfd-notice", "err", err) }}}
	cfg.Ready = func() { notify(log, "READY=1") }
	nameProcess("hvrouter-bfd")
	kept, place, err := handover.Listen(*socket + config.HandoverSuffix)
	if err != nil {
		return in.fail(exitFailed, err)
	}
	keeping, rest := context.WithCancel(ctx)
	var served sync.WaitGroup
	served.Go(func() {
		if err := handover.Serve(keeping, kept, handover.Config{}); err != nil {
			log.Error("keeping sockets", "event", "keep", "err", err)
		}
	})
	defer served.Wait()
	defer rest()
	if *takeover {
		// The sockets are taken over after the sessions: a takeover that fails changes
		// nothing.
		cfg.Ready = func() {
			if err := place(); err != nil {
				log.Error("keeping sockets", "event", "keep", "err", err)
			}
			notify(log, "READY=1")
		}
		err = bfd.Takeover(ctx, *socket, cfg)
	} else if l, e := api.Listen(*socket, place); e != nil { // who finds this, finds both
		err = e
	} else {
		err = bfd.Serve(ctx, l, cfg)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return in.fail(exitFailed, err)
	}
	return exitOK
}

// nameProcess has ps and top call the process so. The kernel takes 15 octets.
func nameProcess(name string) { _ = os.WriteFile("/proc/self/comm", []byte(name), 0) }

// startBFD starts the BFD process in a session of its own, so that it outlives us,
// and waits until it answers.
func startBFD(ctx context.Context, in invocation, b config.BFD, restart time.Duration) error {
	args := append(append([]string(nil), in.before[min(1, len(in.before)):]...), "bfd", "-socket", b.Socket,
		"-realtime", b.Realtime, "-restart-time", restart.String())
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NOTIFY_SOCKET=") }) // it is the daemon's
	if f, ok := in.stderr.(*os.File); ok {
		cmd.Stderr = f
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // lives as long as the process: somebody must reap it
	for deadline := time.Now().Add(startTime); ; {
		if api.Answers(b.Socket) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("does not answer on %s", b.Socket)
		}
		select {
		case err := <-ended:
			if api.Answers(b.Socket) {
				return nil // another one was faster
			}
			return fmt.Errorf("ended at once: %v", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
