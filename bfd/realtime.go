package bfd

import "fmt"

// RealTimeError says that the thread that owns the sessions has to do without
// real-time priority or locked memory. It unwraps to the system's error, most
// often EPERM: CAP_SYS_NICE, CAP_IPC_LOCK, or the limits RLIMIT_RTPRIO and
// RLIMIT_MEMLOCK are missing.
type RealTimeError struct {
	What string // "SCHED_FIFO" or "mlockall"
	Err  error  // often a syscall.Errno
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
