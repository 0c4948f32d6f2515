package topology

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// Daemon is a program in a node's namespace that can be killed and started
// again. Its output goes to a log file, appended over restarts. Its methods are
// not to be called concurrently, except Running.
type Daemon struct {
	Name string
	Node *Node
	Kind Kind
	Args []string // program and arguments
	// Again are arguments added whenever it is not the first start.
	Again []string
	Log   string // path
	// Sessions is how many BGP sessions it should have; a reflector, whose
	// sessions are all seen from the other side, has none to count.
	Sessions int
	peers    func() ([]Peer, error)
	// after is a file, made by another program, without which this one is not
	// started.
	after string
	flaps func() (Flaps, error)
	// converged reports whether the daemon has what its peers have told; nil: it cannot tell.
	converged func() bool
	drain     func(bool) error

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// Peer is a BGP session as its daemon reports it.
type Peer struct {
	Name  string
	State string // Established when it is up
	BFD   string // Up when it is; empty when there is none
}

// Up reports whether the session is established.
func (p Peer) Up() bool { return p.State == "Established" }

// Peers asks the daemon for its sessions.
func (d *Daemon) Peers() ([]Peer, error) {
	if d.peers == nil {
		return nil, nil
	}
	return d.peers()
}

// Flaps holds for each BFD session of a daemon, by name, what changes whenever the
// session leaves Up.
type Flaps map[string]Flap

// Flap is the life of one session.
type Flap struct {
	Text string
	// At is the time of day of the last change, where the daemon tells that instead
	// of counting. BIRD works it out anew each time, and it may differ by a little.
	At time.Duration
}

func (f Flap) same(o Flap) bool { return f.Text == o.Text && (f.At-o.At).Abs() < 50*time.Millisecond }

// Since lists the sessions that changed, appeared or vanished since before.
func (f Flaps) Since(before Flaps) (changed []string) {
	for name, was := range before {
		if now := f[name]; !now.same(was) {
			changed = append(changed, fmt.Sprintf("%s (%s %v, was %s %v)", name, now.Text, now.At, was.Text, was.At))
		}
	}
	for name, now := range f {
		if _, ok := before[name]; !ok {
			changed = append(changed, fmt.Sprintf("%s (%s %v, is new)", name, now.Text, now.At))
		}
	}
	slices.Sort(changed)
	return changed
}

// Flaps asks the daemon for its BFD sessions; ok is false if it cannot tell.
func (d *Daemon) Flaps() (f Flaps, ok bool) {
	if d.flaps == nil {
		return nil, false
	}
	f, err := d.flaps()
	return f, err == nil
}

// Converged reports whether the daemon has done with what its peers have told. One that cannot
// tell has.
func (d *Daemon) Converged() bool { return d.converged == nil || d.converged() }

// Start runs the program in the node's namespace.
func (d *Daemon) Start() error {
	if err := appears(d.after, 5*time.Second); err != nil {
		return fmt.Errorf("%s: %w", d.Name, err)
	}
	args := d.Args
	if d.done != nil {
		args = slices.Concat(args, d.Again)
	}
	log, err := os.OpenFile(d.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Fprintf(log, "--- %s start %s\n", time.Now().Format("15:04:05.000"), strings.Join(args, " "))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	// A session of its own: an interrupt from the terminal is for the lab alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// A child inherits the network namespace of the thread that starts it.
	if err := netns.Do(d.Node.Path, cmd.Start); err != nil {
		return fmt.Errorf("%s: %w", d.Name, err)
	}
	if d.Kind == Bird {
		// BIRD's BFD shares a thread with everything else and has no priority of its
		// own: on a busy machine its sessions fail without reason. Where this is not
		// permitted, so be it.
		_ = unix.SchedSetAttr(cmd.Process.Pid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	d.mu.Lock()
	d.cmd, d.done = cmd, done
	d.mu.Unlock()
	return nil
}

// appears waits for a file; "" is always there.
func appears(path string, limit time.Duration) error {
	if path == "" {
		return nil
	}
	for deadline := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		_, err := os.Stat(path)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// Running reports whether the program is alive.
func (d *Daemon) Running() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		return false
	}
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

// Signal sends a signal to the program.
func (d *Daemon) Signal(s syscall.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd == nil {
		return os.ErrProcessDone
	}
	return d.cmd.Process.Signal(s)
}

// Kill ends the program with SIGKILL and waits until it is gone.
func (d *Daemon) Kill() error { return d.Stop(syscall.SIGKILL) }

// Stop ends the program with a signal and waits until it is gone.
func (d *Daemon) Stop(s syscall.Signal) error {
	if err := d.Signal(s); err != nil {
		return err
	}
	<-d.done
	return nil
}

// Drain makes a router of a routed fabric the last choice of its neighbours, or takes that back.
func (d *Daemon) Drain(on bool) error {
	if d.drain == nil {
		return fmt.Errorf("%s cannot be drained: %w", d.Name, errors.ErrUnsupported)
	}
	return d.drain(on)
}

// Tail returns the last lines of the log.
func (d *Daemon) Tail(lines int) string {
	b, err := os.ReadFile(d.Log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// self returns the arguments that make this program take a role.
func self(part string, args ...string) []string {
	return append([]string{"/proc/self/exe", part}, args...)
}

func (top *Topology) file(name string) string { return filepath.Join(top.Dir, name) }

// Write writes a file of the lab and returns its path.
func (top *Topology) Write(name, content string) (string, error) {
	path := top.file(name)
	return path, errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644))
}
