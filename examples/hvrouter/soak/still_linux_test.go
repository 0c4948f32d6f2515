package soak

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// detection is the shortest time in which a BFD session of the testbed finds that its peer is
	// silent: 100 ms, ten times.
	detection = time.Second
	// still is how much of a detection time the machine may stand still before what it loses then is
	// put down to it. A silence of a whole detection time needs two programs at most that wait one
	// after the other: the one that sends, and the one that receives.
	still = detection / 2
	// gap is the shortest that the watch tells of.
	gap = 20 * time.Millisecond
	// wink is how long each thread of the watch sleeps.
	wink = 4 * time.Millisecond
)

// pausing is a time in which the machine let a thread wait that had something to do.
type pausing struct{ from, to time.Time }

// watch is the process that tells when the machine stands still: two threads a processor, one of
// them under SCHED_FIFO above everything else, which only sleep, and look how late they wake up.
// A virtual machine that its host does not run shows in both, a processor that others keep busy in
// the ordinary one. It is a process of its own so that nothing the soak does is part of what is
// measured.
type watch struct {
	cmd  *exec.Cmd
	stop *os.File // closed, the process ends
	done sync.WaitGroup

	mu   sync.Mutex
	gaps []pausing
}

const watchEnv = "SOAK_WATCH"

// startWatch starts it.
func startWatch(t *testing.T) *watch {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &watch{cmd: exec.Command(self)}
	w.cmd.Env = append(os.Environ(), watchEnv+"=1")
	in, stop, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.cmd.Stdin, w.cmd.Stderr, w.stop = in, os.Stderr, stop
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = w.cmd.Start()
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "watching" { // it would excuse nothing, silently
		t.Fatalf("the watch over the machine does not begin: %q, %v", lines.Text(), w.cmd.Wait())
	}
	w.done.Go(func() {
		for lines.Scan() {
			var from, to int64
			if _, err := fmt.Sscan(lines.Text(), &from, &to); err != nil {
				t.Errorf("the watch over the machine: %q: %v", lines.Text(), err)
			}
			w.mu.Lock()
			w.gaps = append(w.gaps, pausing{time.Unix(0, from), time.Unix(0, to)})
			w.mu.Unlock()
		}
	})
	return w
}

// stood returns for how long some processor let a thread wait since then: what a limit of time has to
// allow beside. A nil watch has seen nothing.
func (w *watch) stood(since time.Time) (sum time.Duration) {
	if w == nil {
		return 0
	}
	time.Sleep(100 * time.Millisecond) // a gap that has just ended is on its way
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range apart(w.gaps) {
		if g.to.After(since) {
			sum += g.to.Sub(later(g.from, since))
		}
	}
	return sum
}

// stoodStill returns for how long the machine stood still since then.
func (w *watch) stoodStill(since time.Time) (sum time.Duration) {
	time.Sleep(100 * time.Millisecond) // as in stood
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range standstills(w.gaps) {
		if p.to.After(since) {
			sum += p.to.Sub(later(p.from, since))
		}
	}
	return sum
}

// end ends the watch, and returns when the machine stood still.
func (w *watch) end() []pausing {
	_ = w.stop.Close()
	w.done.Wait()
	_ = w.cmd.Wait()
	return standstills(w.gaps)
}

// standstills returns the times in which gaps, on whatever processor, were together [still] of a
// detection time or more, those that overlap in one.
func standstills(gaps []pausing) (list []pausing) {
	gaps = apart(gaps)
	for i, g := range gaps {
		sum := time.Duration(0)
		for j := i; j >= 0 && g.to.Sub(gaps[j].to) < detection; j-- { // those that end in the detection time up to here
			if sum += gaps[j].to.Sub(gaps[j].from); sum < still {
				continue
			}
			from := gaps[j].from
			if n := len(list); n > 0 && !from.After(list[n-1].to) {
				list[n-1].to = g.to
			} else {
				list = append(list, pausing{from, g.to})
			}
			break
		}
	}
	return list
}

// apart returns gaps in order, those that overlap as one.
func apart(gaps []pausing) (list []pausing) {
	gaps = slices.SortedFunc(slices.Values(gaps), func(a, b pausing) int { return a.from.Compare(b.from) })
	for _, g := range gaps {
		if n := len(list); n > 0 && !g.from.After(list[n-1].to) {
			list[n-1].to = later(list[n-1].to, g.to)
			continue
		}
		list = append(list, g)
	}
	return list
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// watchMain is the process: a line for each gap, its beginning and its end in nanoseconds since
// 1970, until its standard input is closed.
func watchMain() int {
	var cpus unix.CPUSet
	if err := unix.SchedGetaffinity(0, &cpus); err != nil {
		fmt.Println("sched_getaffinity:", err)
		return 1
	}
	var ready sync.WaitGroup
	var out sync.Mutex
	failed := make(chan error, 2*cpus.Count())
	out.Lock() // the first line is not a gap
	for cpu := range len(cpus) * 64 {
		if !cpus.IsSet(cpu) {
			continue
		}
		for _, policy := range []uint32{unix.SCHED_FIFO, unix.SCHED_NORMAL} {
			ready.Add(1)
			go func() {
				runtime.LockOSThread() // and never let go of
				err := bind(cpu, policy)
				if err != nil {
					failed <- err
				}
				last := time.Now()
				ready.Done()
				for err == nil {
					pause := unix.NsecToTimespec(int64(wink))
					_ = unix.Nanosleep(&pause, nil) // Go's timers are no part of what is measured
					now := time.Now()
					if now.Sub(last)-wink >= gap {
						out.Lock()
						fmt.Println(last.Add(wink).UnixNano(), now.UnixNano())
						out.Unlock()
					}
					last = now
				}
			}()
		}
	}
	ready.Wait()
	select {
	case err := <-failed:
		fmt.Println(err)
		return 1
	default:
	}
	fmt.Println("watching")
	out.Unlock()
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

// bind has the thread run on one processor, by a policy.
func bind(cpu int, policy uint32) error {
	var one unix.CPUSet
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("sched_setaffinity: %w", err)
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy}
	if policy == unix.SCHED_FIFO {
		attr.Priority = 99
	}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("sched_setattr: %w", err)
	}
	return nil
}
