package bfd

import (
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

// command starts the BFD process of a [Client] when there is none. It belongs to the
// goroutine of Run.
type command struct {
	args  []string                                               // the program and its arguments; empty: no process is started
	start func(args []string) (ended <-chan struct{}, err error) // startProcess, or that of a test
	next  time.Time                                              // not before; zero: at once
	wait  bfdcore.Backoff                                        // between two starts
	ended <-chan struct{}                                        // of the process that was started last; nil: none
}

func newCommand(args []string) command {
	return command{args: args, start: startProcess, wait: bfdcore.Backoff{Min: commandFirst, Max: commandLast}}
}

// run starts the process: the first time, and whenever it is asked for because nobody
// answers, unless the one that was started before still runs. That one is about to listen,
// waits for its turn, or hangs, in which case another one would hang as well.
func (c *command) run(now time.Time) error {
	if len(c.args) == 0 || now.Before(c.next) || c.running() {
		return nil
	}
	c.next = now.Add(c.wait.Next())
	ended, err := c.start(c.args)
	if err != nil {
		return fmt.Errorf("bfd: start %s: %w", c.args[0], err)
	}
	c.ended = ended
	return nil
}

// lost notes that a connection has ended which worked: the waits begin anew.
func (c *command) lost(now time.Time) {
	c.wait.Reset()
	if soon := now.Add(commandFirst); c.next.After(soon) {
		c.next = soon
	}
}

func (c *command) running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return c.ended != nil
	}
}

// startProcess starts a process that outlives this one. ended is closed at its end.
func startProcess(args []string) (<-chan struct{}, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // only its parent can reap it
	}()
	return ended, nil
}
