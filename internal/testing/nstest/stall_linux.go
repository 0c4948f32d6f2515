package nstest

import (
	"time"

	"golang.org/x/sys/unix"
)

// processors lists those that this process may use.
func processors() (cpus []int) {
	var mine unix.CPUSet
	if unix.SchedGetaffinity(0, &mine) != nil {
		mine.Set(0)
	}
	for cpu := 0; len(cpus) < mine.Count(); cpu++ {
		if mine.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}

// pin keeps the thread on a processor.
func pin(cpu int) {
	var one unix.CPUSet
	one.Set(cpu)
	_ = unix.SchedSetaffinity(0, &one)
}

// sleep is the kernel's sleep: Go's scheduler is part of what is measured.
func sleep(d time.Duration) {
	pause := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&pause, nil)
}
