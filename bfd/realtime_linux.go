package bfd

import (
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// schedFIFO puts the calling thread under SCHED_FIFO. Threads that it creates are ordinary ones.
func schedFIFO(priority int) error {
	err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Priority: uint32(priority)}, 0)
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

func (p *epoller) begin(c *Config) (lacks []error, err error) {
	p.thread = unix.Gettid()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // wake up when asked to; the default is 50 us late
	name := [16]byte{}
	copy(name[:15], "bfd-sessions")
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	if c.LockMemory {
		if err := lockMemory(); err != nil {
			lacks = append(lacks, err)
		}
	}
	if c.RealTime != RealTimeOff {
		if err = schedFIFO(c.Priority); err != nil {
			lacks = append(lacks, err)
		}
	}
	if c.RealTime != RealTimeRequired {
		err = nil
	}
	return lacks, err
}

// slack is how late timers of the other threads may be, in nanoseconds. Go's monitor thread
// looks after the owner each time it wakes, every 20 us at first, and does nothing; with
// this slack it does so 20 times a second, in place of thousands.
const slack = "50000000"

// quiet sets timer slack for the process's other threads. Those created later inherit it.
// Without CAP_SYS_NICE the process costs more while it is idle, and nothing else.
func (p *epoller) quiet() {
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, t := range tasks {
		if t.Name() != strconv.Itoa(p.thread) {
			_ = os.WriteFile("/proc/"+t.Name()+"/timerslack_ns", []byte(slack), 0)
		}
	}
}
