package bfd

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// RealTimeError says that the thread that owns the sessions has to do without
// real-time priority or locked memory. It unwraps to the system's error, most
// often EPERM: CAP_SYS_NICE, CAP_IPC_LOCK, or the limits RLIMIT_RTPRIO and
// RLIMIT_MEMLOCK are missing.
type RealTimeError struct {
	What string // "SCHED_FIFO" or "mlockall"
	Err  error
}

// Error implements error.
func (e *RealTimeError) Error() string {
	return fmt.Sprintf("bfd: %s not permitted, sessions may flap on a busy machine: %v", e.What, e.Err)
}

// Unwrap returns the system's error.
func (e *RealTimeError) Unwrap() error { return e.Err }

// defaultPriority lies in the middle, above what the kernel runs as FIFO 1 and
// beside its threaded interrupts.
const defaultPriority = 50

// schedFIFO gives a thread (0: the calling one) SCHED_FIFO, also inherited by the
// threads it creates.
func schedFIFO(tid, priority int) error {
	err := unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: uint32(priority)}, 0)
	if err != nil {
		return &RealTimeError{"SCHED_FIFO", err}
	}
	return nil
}

// lockMemory keeps what the process has, and will have, resident.
func lockMemory() error {
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return &RealTimeError{"mlockall", err}
	}
	return nil
}

// privileges prepares the calling thread, which the owner will run on. It reports
// what it could not have, and fails if that was required.
func (c *Config) privileges(notice func(error)) error {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // wake up when asked to; the default is 50 us late
	var errs []error
	if c.LockMemory {
		errs = append(errs, lockMemory())
	}
	var fifo error
	if c.RealTime != RealTimeOff {
		if c.WholeProcess {
			allThreadsFIFO()
		}
		fifo = schedFIFO(0, c.Priority)
		errs = append(errs, fifo)
	}
	for _, err := range errs {
		if err != nil {
			notice(err)
		}
	}
	if c.RealTime == RealTimeRequired {
		return errors.Join(fifo)
	}
	return nil
}

// allThreadsFIFO moves the threads that exist to the lowest real-time priority;
// those created later inherit it. Not being permitted is reported when the owner
// asks for the same.
func allThreadsFIFO() {
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, t := range tasks {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			_ = schedFIFO(tid, 1)
		}
	}
}
