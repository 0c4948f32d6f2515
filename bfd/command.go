package bfd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// How soon the BFD process is started again.
const (
	commandFirst = time.Second
	commandLast  = 30 * time.Second
)

// atOnce is how soon after its start the end of a BFD process is a failure, even with exit
// status 0, which is also that of a process that has handed over to a successor.
const atOnce = 10 * time.Second

// errExitStatus0 stands for the exec.ExitError that there is not.
var errExitStatus0 = errors.New("exit status 0")

// command starts the BFD process of a [Client] when there is none. It belongs to the
// goroutine of Run.
type command struct {
	args  []string                                            // the program and its arguments; empty: no process is started
	start func(args []string) (ended <-chan error, err error) // startProcess, or that of a test
	next  time.Time                                           // not before; zero: at once
	wait  bfdcore.Backoff                                     // between two starts
	ended <-chan error                                        // of the process that was started last; nil: none runs
	since time.Time                                           // when that was started
}

func newCommand(args []string) command {
	return command{args: args, start: startProcess, wait: bfdcore.Backoff{Min: commandFirst, Max: commandLast}}
}

// run starts the process: the first time, and whenever it is asked for because nobody
// answers, unless the one that was started before still runs. That one is about to listen,
// waits for its turn, or hangs, in which case another one would hang as well.
func (c *command) run(now time.Time) error {
	if len(c.args) == 0 || now.Before(c.next) || c.ended != nil {
		return nil
	}
	c.next = now.Add(c.wait.Next())
	ended, err := c.start(c.args)
	if err != nil {
		return fmt.Errorf("bfd: start %s: %w", c.args[0], err)
	}
	c.ended, c.since = ended, now
	return nil
}

// poll returns why the process that was started last is of no use, once, if it has ended.
func (c *command) poll(now time.Time) error {
	select {
	case err := <-c.ended:
		return c.exited(err, now)
	default:
		return nil
	}
}

// exited takes what came from ended: the process can be started again. It returns what is to be
// said about that; nil: the process has ended as a process may.
func (c *command) exited(err error, now time.Time) error {
	c.ended = nil
	switch {
	case err != nil:
	case now.Sub(c.since) < atOnce:
		err = errExitStatus0
	default:
		return nil
	}
	return fmt.Errorf("bfd: %s has ended: %w", c.args[0], err)
}

// lost notes that a connection has ended which worked: the waits begin anew.
func (c *command) lost(now time.Time) {
	c.wait.Reset()
	if soon := now.Add(commandFirst); c.next.After(soon) {
		c.next = soon
	}
}

// startProcess starts a process that outlives this one. At its end the channel has the error of
// exec.Cmd.Wait: nil, or an *exec.ExitError with exit status or signal.
func startProcess(args []string) (<-chan error, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // only its parent can reap it
	return ended, nil
}
