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

// lockMemory keeps the memory that the process has, and will have, resident. With
// MCL_ONFAULT a page is locked when it is first touched, not when it is mapped (mlockall(2)):
// Go reserves far more address space than it uses.
func lockMemory() error {
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return &RealTimeError{"mlockall", err}
	}
	return nil
}

func (p *epoller) begin(c *Config) (lacks []error, err error) {
	p.thread = unix.Gettid()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // in ns; the default is 50 us, and real-time threads have none (prctl(2))
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
// (sysmon in runtime/proc.go) wakes every 20 us at first and finds nothing to do; with this
// slack it wakes 20 times a second, in place of thousands.
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
