package bfd

import (
	"bytes"
	"os"
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

// The timer slack, in nanoseconds, of Go's monitor thread (sysmon in runtime/proc.go), and of
// every other one, which is the kernel's default. The monitor wakes every 20 us at first and finds
// nothing to do; with this slack it wakes 20 times a second, in place of thousands. The others must
// not have it: one that takes over a goroutine first sleeps for 3 us (runqgrab), and with the slack
// each question to the owner took up to 50 ms.
const (
	monitorSlack = "50000000"
	usualSlack   = "50000"
)

// quiet sets timer slack for the process's other threads. Without CAP_SYS_NICE the process costs
// more while it is idle, and nothing else. It is called again as threads come: those that the
// monitor has started inherit its slack.
func (p *epoller) quiet() {
	tasks, err := os.Open("/proc/self/task")
	if err != nil {
		return
	}
	defer tasks.Close()
	names, _ := tasks.Readdirnames(-1) // by age, see next_tid in fs/proc/base.c
	for i, name := range names {
		file := "/proc/" + name + "/timerslack_ns" // there is none under task
		want := usualSlack
		if i == 1 { // runtime.main starts it before anything else
			want = monitorSlack
		}
		b, err := os.ReadFile(file)
		if have := string(bytes.TrimSpace(b)); err == nil && (have == monitorSlack || i == 1) && have != want {
			_ = os.WriteFile(file, []byte(want), 0)
		}
	}
}
