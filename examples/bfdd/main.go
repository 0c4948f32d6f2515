// Command bfdd is the data plane of FRR's bfdd: the BFD sessions that FRR's daemons ask for
// run in a process of their own and stay up when bfdd, bgpd or all of FRR is killed,
// restarted or upgraded. docs/bfdd.md is for who runs FRR.
//
//	bfdd -connect /run/frr/dplane.sock      beside bfdd --dplaneaddr unix:/run/frr/dplane.sock
//	bfdd -listen /run/hyperfib/dplane.sock  beside bfdd --dplaneaddr unixc:/run/hyperfib/dplane.sock
//	bfdd show [-j]
//	bfdd unfence
//
// It starts the process that has the sessions, `bfdd sessions`, by itself, unless a unit of
// systemd has done so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/bfdd/plane"
	"github.com/hyperfib/hyperfib/examples/hvrouter/handover"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// Where the sockets are, below the directory of -run.
const (
	defaultRun    = "/run/hyperfib-bfdd"
	sessionSocket = "sessions.sock" // of the process that has the sessions
	keepSocket    = "keep.sock"     // likewise: it keeps the connections of bfdd
	statusSocket  = "status.sock"   // that `bfdd show` asks
)

// run is main with its arguments. It returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	command := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	commands := map[string]func([]string, io.Writer, io.Writer) error{"serve": serveCommand, "sessions": sessionsCommand, "show": showCommand, "unfence": unfenceCommand}
	f := commands[command]
	if f == nil {
		fmt.Fprintf(stderr, "bfdd: unknown command %q: serve (also without a name), sessions, show, unfence\n", command)
		return 2
	}
	err := f(args, stdout, stderr)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 2
	}
	fmt.Fprintln(stderr, "bfdd:", err)
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

var errUsage = errors.New("usage")

// flags returns an empty set of flags for a command, with -run.
func flags(name string, stderr io.Writer) (fs *flag.FlagSet, dir *string) {
	fs = flag.NewFlagSet("bfdd "+name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	return fs, fs.String("run", defaultRun, "`directory` of the sockets")
}

// parse parses the flags; there must be no other arguments.
func parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		return flag.ErrHelp // it has been printed
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, fs.Arg(0))
	}
	return nil
}

// serveCommand is the data plane.
func serveCommand(args []string, _, stderr io.Writer) error {
	fs, dir := flags("serve", stderr)
	cfg := shellConfig{log: slog.New(slog.NewTextHandler(stderr, nil))}
	fs.StringVar(&cfg.connect, "connect", "", "connect to bfdd's `socket`: bfdd --dplaneaddr unix:socket")
	fs.StringVar(&cfg.listen, "listen", "", "listen on the `socket` for bfdd: bfdd --dplaneaddr unixc:socket")
	fs.StringVar(&cfg.group, "group", "frr", "`group` that may connect to the socket of -listen; empty: our own user")
	fs.DurationVar(&cfg.linger, "linger", plane.DefaultLinger, "how long a session stays that no bfdd wants any more")
	fence := fs.String("fence", "frr", "`user` of bfdd, whose own BFD packets are kept off the wire; empty: they are not")
	realtime := fs.Bool("realtime", true, "the process of the sessions runs under SCHED_FIFO, if permitted")
	restart := fs.Duration("restart-time", bfd.DefaultRestartTime, "how long sessions stay without this process")
	if err := parse(fs, args); err != nil {
		return err
	}
	switch {
	case cfg.connect == "" && cfg.listen == "":
		return fmt.Errorf("%w: -connect or -listen says where bfdd is", errUsage)
	case cfg.linger < 0:
		return fmt.Errorf("%w: -linger %v is negative", errUsage, cfg.linger)
	}
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return err
	}
	// First of all: bfdd may be waiting for us, with sessions of its own.
	if *fence != "" {
		if err := putFence(*fence); err != nil {
			return fmt.Errorf("keep bfdd's own packets off the wire: %w (-fence \"\" does without)", err)
		}
		cfg.fenced = fenced
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	client, err := bfd.NewClient(bfd.ClientConfig{
		Socket: filepath.Join(*dir, sessionSocket), Name: "frr",
		Command: []string{self, "sessions", "-run", *dir, "-realtime=" + fmt.Sprint(*realtime), "-restart-time", restart.String()},
		Notice:  func(err error) { cfg.log.Warn("BFD", "err", err) },
	})
	if err != nil {
		return err
	}
	status, err := listenUnix(filepath.Join(*dir, statusSocket), "")
	if err != nil {
		return err
	}
	defer status.Close()
	cfg.status, cfg.client, cfg.keep = status, client, filepath.Join(*dir, keepSocket)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cfg.serve(ctx)
}

// sessionsCommand is the process that has the sessions.
func sessionsCommand(args []string, _, stderr io.Writer) error {
	fs, dir := flags("sessions", stderr)
	realtime := fs.Bool("realtime", true, "run under SCHED_FIFO, if permitted")
	restart := fs.Duration("restart-time", bfd.DefaultRestartTime, "how long sessions stay without a data plane")
	if err := parse(fs, args); err != nil {
		return err
	}
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	kept, place, err := handover.Listen(filepath.Join(*dir, keepSocket))
	if err != nil {
		return err
	}
	keeping, rest := context.WithCancel(ctx)
	var served sync.WaitGroup
	served.Go(func() {
		if err := handover.Serve(keeping, kept, handover.Config{}); err != nil {
			log.Error("keeping connections", "err", err)
		}
	})
	defer served.Wait()
	defer rest()
	ready := func() { // not before: a process of the same build may be there already
		if err := place(); err != nil {
			log.Error("keeping connections", "err", err)
		}
		notifySystemd(log)
	}
	cfg := bfd.ServeConfig{RestartTime: *restart, Ready: ready,
		Config: bfd.Config{LockMemory: *realtime, Notice: func(err error) { log.Warn("sessions", "err", err) }}}
	if !*realtime {
		cfg.RealTime = bfd.RealTimeOff
	}
	err = bfd.ListenAndServe(ctx, filepath.Join(*dir, sessionSocket), cfg)
	if errors.Is(err, bfd.ErrClosed) || errors.Is(err, bfd.ErrInUse) {
		return nil
	}
	return err
}

// unfenceCommand lets bfdd's own packets out again.
func unfenceCommand(args []string, _, stderr io.Writer) error {
	fs := flag.NewFlagSet("bfdd unfence", flag.ContinueOnError)
	fs.SetOutput(stderr)
	if err := parse(fs, args); err != nil {
		return err
	}
	return removeFence()
}

// notifySystemd says that a unit of Type=notify is ready (sd_notify(3)).
func notifySystemd(log *slog.Logger) {
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
		log.Warn("systemd was not told", "err", err)
	}
}

// startTime is how long the process of the sessions may take to answer.
const startTime = 10 * time.Second
