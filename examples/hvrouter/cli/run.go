package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/confirm"
	"github.com/hyperfib/hyperfib/examples/hvrouter/daemon"
)

// run is the daemon.
func run(in invocation) int {
	fs := in.flags("run")
	file := fs.String("config", defaultConfig, "configuration `FILE`")
	if _, ok := in.words(fs, 0, 0); !ok {
		return exitUsage
	}
	c, err := confirm.Files{Config: *file}.Load()
	if err != nil {
		return in.fail(exitUsage, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, unix.SIGHUP)
	defer signal.Stop(hup)
	logs, log := newLogging(in.stderr)
	logs.configure(c)
	defer logs.flush()
	err = daemon.Run(ctx, c, daemon.Options{ConfigFile: *file, Log: log, Reload: hup, Ready: func(why string) { notify(log, "READY=1\nSTATUS="+why) }, Reloading: func() { notify(log, reloading()) },
		Configured: logs.configure,
		Alive:      func() { notify(log, "WATCHDOG=1") }, AliveEvery: watchdog(),
		StartBFD: func(b config.BFD) error { return startBFD(ctx, in, b, c.BGP.GracefulRestart.Time.Duration) }})
	if err != nil && !errors.Is(err, context.Canceled) {
		return in.fail(exitFailed, err)
	}
	return exitOK
}

// precise gives times to the microsecond: events of one failure are that close.
func precise(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
		a.Value = slog.StringValue(a.Value.Time().Format("2006-01-02T15:04:05.000000"))
	}
	return a
}

// startTime bounds how long the BFD process may take to answer.
const startTime = 10 * time.Second
